#include "nn/inspect/graph_svg.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <regex>
#include <set>

#include "nn/moegrad.h"

using namespace moegrad;

namespace {

Tensor leaf(const Shape& shape, const char* label = "") {
  Tensor x = full(shape, 0.5, DType::f64);
  x.requires_grad_();
  x.set_name(label);
  return x;
}

// What is wrong with it as XML: tags that do not match, stray signs, unquoted attributes; "" if nothing is.
std::string xml_error(const std::string& text) {
  static const std::regex tag(R"(^<(/?)([A-Za-z]+)((?: [A-Za-z-]+="[^"<]*")*)(/?)>)"),
      entity(R"(^&(amp|lt|gt|quot|#39|apos);)");
  std::vector<std::string> open;
  for (auto at = text.begin(); at != text.end();) {
    std::smatch m;
    if (*at == '<') {
      if (!std::regex_search(at, text.end(), m, tag))
        return "no tag: " + std::string(at, std::min(at + 40, text.end()));
      if (m[1].length() > 0) {
        if (open.empty() || open.back() != m[2]) return "closes " + m[2].str();
        open.pop_back();
      } else if (m[4].length() == 0) {
        open.push_back(m[2]);
      }
      at += m.length();
    } else if (*at == '&') {
      if (!std::regex_search(at, text.end(), m, entity))
        return "no entity: " + std::string(at, std::min(at + 9, text.end()));
      at += m.length();
    } else if (static_cast<unsigned char>(*at++) < ' ' && *(at - 1) != '\n') {
      return "a control character";
    }
  }
  return open.empty() ? "" : "open: " + open.back();
}

std::multiset<std::string> found(const std::string& text, const std::string& pattern) {
  std::multiset<std::string> all;
  const std::regex regex(pattern);
  for (std::sregex_iterator at(text.begin(), text.end(), regex), end; at != end; ++at)
    all.insert((*at)[1].str() + (at->size() > 2 ? " " + (*at)[2].str() : ""));
  return all;
}

// Every node and arrow of to_dot is there, once.
void check_complete(const Tensor& y, const DotOptions& options = {}) {
  const std::string svg = graph_svg(y, options), dot = to_dot(y, options);
  CHECK(xml_error(svg) == "");
  const auto nodes = found(dot, R"(\n  (n\d+|more|y) \[)"), arrows = found(dot, R"(\n  (\w+) -> (\w+))");
  CHECK(found(svg, R"re( data-node="(\w+)")re") == nodes);
  CHECK(found(svg, R"re( data-from="(\w+)" data-to="(\w+)")re") == arrows);
  CHECK(nodes.size() > 1);
  CHECK(arrows.size() > 0);
}

i64 count(const std::string& text, const std::string& what) {
  i64 n = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

}  // namespace

TEST_CASE("graph svg: every node, arrow and shape of to_dot is there once, also of twice the same input") {
  const Tensor w = leaf({3, 2}, "w"), x = leaf({2, 3});
  const Tensor z = matmul(x, w), y = sum(softmax(z * z, 1) * 2.0);
  check_complete(y);
  const std::string svg = graph_svg(y);
  CHECK(svg.starts_with("<svg "));
  CHECK(svg.ends_with("</svg>\n"));
  CHECK(count(svg, ">f64 [2, 2]</text>") == 5);  // z twice, its square, the softmax, its double
  CHECK(count(svg, ">f64 [3, 2]</text>") == 1);
  CHECK(count(svg, ">w</text>") == 1);
  CHECK(count(svg, ">axes = [1]</text>") == 1);
  CHECK(svg == graph_svg(y));
  CHECK(svg.find("currentColor") != std::string::npos);
  CHECK(svg.find("#") == std::string::npos);  // no colour of its own
  CHECK(count(graph_svg(y, {.attributes = false, .shapes = false}), "f64") == 0);
  CHECK(graph_drawing("g", y).svg == svg);
}

TEST_CASE("graph svg: names are escaped and cut; outputs are numbered; what is left out is said") {
  const Tensor x = leaf({4}, "a <b> & \"c\"\nof two lines, of which the second is far too long to show");
  const auto parts = split(x, {1, 3}, 0);
  check_complete(sum(parts[1]));
  const std::string svg = graph_svg(sum(parts[1]));
  CHECK(svg.find("a &lt;b&gt; &amp; &quot;c&quot;</text>") != std::string::npos);
  CHECK(svg.find(">of two lines, of which the second is far…</text>") != std::string::npos);
  CHECK(svg.find(">output 1: f64 [3]</text>") != std::string::npos);
  Tensor odd = leaf({1}, "\xff\x01 caf\xc3\xa9");
  check_complete(odd * 2.0);
  Tensor y = leaf({1}, "x");
  for (int i = 0; i < 6; ++i) y = exp(y) * y;
  check_complete(y, {.most = 5});
  CHECK(graph_svg(y, {.most = 5}).find(">8 more nodes</text>") != std::string::npos);
}

TEST_CASE("graph svg: the loss of a mixture of experts, as a figure of a report") {
  Random random(1);
  Init init(random);
  LanguageModel model(
      {.vocabulary = 7, .context = 6, .width = 8, .layers = 2, .heads = 2},
      [&](i64, double, Init& i) { return make_moe(8, {.experts = 3, .k = 2, .hidden = 4}, i); }, init);
  model.named_parameters();  // names them
  const Tensor tokens = zeros({2, 6}, DType::i64);
  Context context{.training = true, .random = &random};
  const Tensor task = cross_entropy(model.forward(tokens, context), tokens);
  const Tensor loss = task + context.losses.at("load_balancing");
  check_complete(loss);
  check_complete(loss, {.most = 40});
  Report report;
  report.title = "graph";
  report.sections.push_back({"The graph", "", {graph_drawing("loss", loss)}});
  CHECK(report.html().find("data-node=\"n0\"") != std::string::npos);
}

TEST_CASE("graph svg: error texts are its own") {
  CHECK_THROWS_WITH_AS(graph_svg(zeros({2})),
                       "graph_svg: y must depend on a tensor that requires a gradient; got y f32 [2]", GradError);
  CHECK_THROWS_WITH_AS(graph_svg(leaf({2}), {.most = 0}), "graph_svg: most must be at least 1; got 0", Error);
}
