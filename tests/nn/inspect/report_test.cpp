#include "nn/inspect/report.h"

#include <doctest/doctest.h>

#include "core/atomic_file.h"
#include "core/errors.h"
#include "tests/nn/inspect/report/markup.h"
#include "tests/support/message_of.h"
#include "tests/support/temporary_folder.h"

using namespace moegrad;
using namespace moegrad::test;
using moegrad::test::count;
using moegrad::test::malformed;

namespace {

LineChart chart(const std::string& title) {
  return {.title = title, .series = {{"a", {1, 2}, {3, 4}}}, .note = "a <note>"};
}

Report sample() {
  return {.title = "a & b",
          .subtitle = "<i>",
          .command = "run --x '<y>'",
          .facts = {{"loss", "1 < 2"}, {"unit", "1.5 nats & more"}},
          .sections = {{"One", "text", {chart("c1"), chart("c2"), chart("c3"), Table{.title = "t"}}},
                       {"Two", "", {chart("c4")}}}};
}

}  // namespace

TEST_CASE("report: a page is well-formed, stands alone, and escapes what it is told") {
  const std::string html = sample().html();
  CHECK(malformed(html) == "");
  CHECK(html.find("<title>a &amp; b</title>") != std::string::npos);
  CHECK(html.find("<dt>loss</dt><dd>1 &lt; 2</dd>") != std::string::npos);
  CHECK(html.find("<dd>1.5 <small>nats &amp; more</small></dd>") != std::string::npos);
  CHECK(html.find("<code>run --x &#39;&lt;y&gt;&#39;</code>") != std::string::npos);
  CHECK(html.find("a &lt;note&gt;") != std::string::npos);
  CHECK(html.find("http") == std::string::npos);
}

TEST_CASE("report: figures have ids, kinds and numbers of data; one alone in its line is wide") {
  const std::string html = sample().html();
  CHECK(html.find("<figure id=\"figure-1\" data-figure=\"line-chart\" data-points=\"2\">") != std::string::npos);
  CHECK(html.find("<figure id=\"figure-3\" data-figure=\"line-chart\" data-points=\"2\">") != std::string::npos);
  CHECK(html.find("<figure id=\"figure-4\" data-figure=\"table\" data-points=\"0\" data-empty=\"true\">") !=
        std::string::npos);
  CHECK(html.find("<figure id=\"figure-5\" data-figure=\"line-chart\" data-points=\"2\" class=\"wide\">") !=
        std::string::npos);
  CHECK(count(html, "no data yet") == 1);
  CHECK(count(html, "<a href=\"#section-") == 2);
}

TEST_CASE("report: a page without anything is a page") {
  CHECK(malformed(Report{}.html()) == "");
  CHECK(malformed(Report{.title = "x", .sections = {{"empty", "", {}}}}.html()) == "");
}

TEST_CASE("report: it is written wholly or not at all") {
  test::TemporaryFolder folder;
  const std::string path = folder.file("report.html");
  sample().write(path);
  CHECK(read_file(path) == sample().html());
  Report wrong = sample();
  wrong.sections[0].figures.push_back(LineChart{.title = "w", .series = {{"a", {1}, {}}}});
  CHECK_THROWS_WITH_AS(
      wrong.write(path),
      "line chart 'w': x, y and a band's low and high must be equally many; got series 'a' with 1, 0, 0 and 0",
      ShapeError);
  CHECK(read_file(path) == sample().html());
  CHECK(folder.count() == 1);
  const std::string missing = folder.file("missing/report.html");
  CHECK(message_of<IoError>([&] { sample().write(missing); }) ==
        missing + ": cannot write it: No such file or directory");
}
