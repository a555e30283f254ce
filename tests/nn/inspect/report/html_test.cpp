#include "nn/inspect/report/html.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "nn/inspect/figures.h"

using namespace moegrad;
using namespace moegrad::report;

TEST_CASE("report text: markup is escaped, whatever is not text is shown as a symbol") {
  CHECK(escape("a < b && \"c\" > 'd'") == "a &lt; b &amp;&amp; &quot;c&quot; &gt; &#39;d&#39;");
  CHECK(escape("tab\tand\nline") == "tab\tand\nline");
  CHECK(clean(std::string("\x00\x01\x1b\x7f", 4)) == "\u2400\u2401\u241B\u2421");
  CHECK(clean("caf\u00e9 \U0001F989") == "caf\u00e9 \U0001F989");
  CHECK(clean("a\u202Eb\u2069") == "a\uFFFDb\uFFFD");  // the direction of writing stays as it is
  CHECK(clean("\u0085") == "\uFFFD");
  CHECK(clean("\uFFFE") == "\uFFFD");
}

TEST_CASE("report text: bytes that are not UTF-8 become U+FFFD, one for each") {
  CHECK(clean("a\xff\x62") == "a\uFFFDb");
  CHECK(clean("\xc3") == "\uFFFD");                                // cut short
  CHECK(clean("\xc3(") == "\uFFFD(");                              // not continued
  CHECK(clean("\xc0\xaf") == "\uFFFD\uFFFD");                      // overlong
  CHECK(clean("\xe0\x80\xaf") == "\uFFFD\uFFFD\uFFFD");            // overlong
  CHECK(clean("\xed\xa0\x80") == "\uFFFD\uFFFD\uFFFD");            // a surrogate
  CHECK(clean("\xf4\x90\x80\x80") == "\uFFFD\uFFFD\uFFFD\uFFFD");  // above U+10FFFF
  CHECK(clean("\xf0\x9f\xa6\x89") == "\U0001F989");
}

TEST_CASE("report text: characters to point at are never invisible") {
  CHECK(visible("\n") == "\u21B5");
  CHECK(visible("\t") == "\u21E5");
  CHECK(visible("") == "\u2205");
  CHECK(visible("x") == "x");
  CHECK(visible("\x80") == "\uFFFD");
}

TEST_CASE("report data: whole numbers are exact, others have six digits, what is missing is null") {
  const nlohmann::json list = numbers({123456789, 0.123456789, kNoValue, -1e300, 1.0 / 0.0, 1e-9});
  CHECK(list.dump() == "[123456789,0.123457,null,-1e+300,null,1e-09]");
}

TEST_CASE("report data: nothing in it ends its element") {
  const std::string html = data_element({{"name", "</script><!--"}, {"bad", "\xff"}});
  const std::string open = "<script type=\"application/json\" class=\"data\">", close = "</script>\n";
  REQUIRE(html.starts_with(open));
  REQUIRE(html.ends_with(close));
  const std::string inside = html.substr(open.size(), html.size() - open.size() - close.size());
  CHECK(inside.find('<') == std::string::npos);
  CHECK(nlohmann::json::parse(inside)["name"] == "</script><!--");
  CHECK(nlohmann::json::parse(inside)["bad"] == "\uFFFD");
}
