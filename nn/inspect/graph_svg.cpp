#include "nn/inspect/graph_svg.h"

#include <fmt/format.h>

#include <algorithm>

#include "nn/inspect/layered_layout.h"
#include "nn/inspect/report/html.h"
#include "ops/autodiff/graph_picture.h"

namespace moegrad {
namespace {

using report::escape;

constexpr double kLetter = 7.3, kLine = 16;            // of the boxes' type, 12 px and of equal width
constexpr double kSmallLetter = 6.7, kSmallText = 11;  // of that on arrows
constexpr std::size_t kMost = 40;                      // letters of a line

constexpr const char* kStyle =
    "<style>.graph{color:inherit;font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,\"DejaVu Sans Mono\",monospace}"
    ".graph text{fill:currentColor;text-anchor:middle;font-size:12px}"
    ".graph rect{fill:currentColor;fill-opacity:.05;stroke:currentColor;stroke-opacity:.55}"
    ".graph .graph-leaf rect{fill-opacity:.16}"
    ".graph .graph-more rect{fill-opacity:0;stroke-dasharray:4 3}"
    ".graph .graph-result rect{fill-opacity:0;stroke-opacity:0}"
    ".graph .graph-detail,.graph .graph-arrow text{font-size:11px;fill-opacity:.75}"
    ".graph .graph-way{fill:none;stroke:currentColor;stroke-opacity:.55}"
    ".graph .graph-head{fill:currentColor;fill-opacity:.7}</style>\n";

// Characters, which take several bytes each where they are not ASCII.
std::size_t letters(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

// At most kMost characters of it.
std::string cut(const std::string& text) {
  std::size_t seen = 0, end = 0;
  for (; end < text.size(); ++end) {
    const bool begins = (static_cast<unsigned char>(text[end]) & 0xc0) != 0x80;
    if (begins && seen++ == kMost) return text.substr(0, end) + "…";
  }
  return text;
}

std::vector<std::string> lines_of(const GraphPicture::Box& box) {
  if (box.kind == GraphPicture::Kind::result) return {"y"};
  std::vector<std::string> lines(1);
  for (const char c : report::clean(box.text)) {
    if (c == '\n')
      lines.emplace_back();
    else
      lines.back() += c;
  }
  for (std::string& line : lines) line = cut(line);
  return lines;
}

const char* class_of(GraphPicture::Kind kind) {
  switch (kind) {
    case GraphPicture::Kind::op: return "graph-op";
    case GraphPicture::Kind::leaf: return "graph-leaf";
    case GraphPicture::Kind::more: return "graph-more";
    case GraphPicture::Kind::result: break;
  }
  return "graph-result";
}

Layout layout_of(const GraphPicture& picture) {
  std::vector<LayoutBox> boxes;
  for (const GraphPicture::Box& box : picture.boxes) {
    const std::vector<std::string> lines = lines_of(box);
    std::size_t longest = 0;
    for (const std::string& line : lines) longest = std::max(longest, letters(line));
    boxes.push_back({.width = static_cast<double>(longest) * kLetter + 18,
                     .height = static_cast<double>(lines.size()) * kLine + 8});
  }
  std::vector<LayoutLink> links;
  for (const GraphPicture::Arrow& a : picture.arrows)
    links.push_back({.from = a.from,
                     .to = a.to,
                     .width = a.text.empty() ? 0 : static_cast<double>(letters(cut(a.text))) * kSmallLetter + 4,
                     .text = {}});
  return layered_layout(std::move(boxes), std::move(links));
}

std::string box_svg(const GraphPicture::Box& box, const LayoutBox& place) {
  const double left = place.x - place.width / 2, top = place.y - place.height / 2;
  const bool round = box.kind == GraphPicture::Kind::leaf;
  std::string svg = fmt::format("<g class=\"{}\" data-node=\"{}\">", class_of(box.kind), box.id);
  if (letters(box.text) > kMost) svg += fmt::format("<title>{}</title>", escape(box.text));
  svg += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" rx=\"{}\"/>", left, top,
                     place.width, place.height, round ? 12 : 3);
  const std::vector<std::string> lines = lines_of(box);
  for (std::size_t i = 0; i < lines.size(); ++i)
    svg += fmt::format("<text{} x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", i > 0 && !round ? " class=\"graph-detail\"" : "",
                       place.x, top + 4 + (static_cast<double>(i) + 0.75) * kLine, escape(lines[i]));
  return svg + "</g>\n";
}

// Through free space in a curve, through layers straight; where the text stands, not at all.
std::string way_svg(const LayoutLink& link, bool has_text) {
  std::string d;
  for (std::size_t i = 0; i + 1 < link.way.size(); ++i) {
    const LayoutPoint &a = link.way[i], &b = link.way[i + 1];
    if (i == 0) d += fmt::format("M{:.1f} {:.1f}", a.x, a.y);
    if (i % 2 == 1) {
      const double middle = (a.y + b.y) / 2;
      d += fmt::format("C{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}", a.x, middle, b.x, middle, b.x, b.y);
    } else {
      const bool text_here = has_text && i + 4 == link.way.size();
      d += fmt::format("{}{:.1f} {:.1f}", text_here ? 'M' : 'L', b.x, b.y);
    }
  }
  const LayoutPoint& end = link.way.back();
  return fmt::format("<path class=\"graph-way\" d=\"{}\"/><path class=\"graph-head\" d=\"M{:.1f} {:.1f}l-3.5 -7h7z\"/>",
                     d, end.x, end.y);
}

std::string arrow_svg(const GraphPicture& picture, const GraphPicture::Arrow& arrow, const LayoutLink& link) {
  const auto id = [&](i64 box) { return picture.boxes[static_cast<std::size_t>(box)].id; };
  std::string svg = fmt::format("<g class=\"graph-arrow\" data-from=\"{}\" data-to=\"{}\">{}", id(arrow.from),
                                id(arrow.to), way_svg(link, !arrow.text.empty()));
  if (!arrow.text.empty())
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", link.text.x, link.text.y + kSmallText / 3,
                       escape(cut(arrow.text)));
  return svg + "</g>\n";
}

}  // namespace

std::string graph_svg(const Tensor& y, const DotOptions& options) {
  const GraphPicture picture = graph_picture("graph_svg", y, options);
  const Layout layout = layout_of(picture);
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"graph\" role=\"img\" aria-label=\"graph of {} nodes\" "
      "width=\"{:.0f}\" height=\"{:.0f}\" viewBox=\"0 0 {:.0f} {:.0f}\">\n",
      picture.boxes.size() - 1, layout.width, layout.height, layout.width, layout.height);
  svg += kStyle;
  for (std::size_t i = 0; i < picture.arrows.size(); ++i) svg += arrow_svg(picture, picture.arrows[i], layout.links[i]);
  for (std::size_t i = 0; i < picture.boxes.size(); ++i) svg += box_svg(picture.boxes[i], layout.boxes[i]);
  return svg + "</svg>\n";
}

Drawing graph_drawing(const std::string& title, const Tensor& y, const DotOptions& options) {
  return {.title = title, .svg = graph_svg(y, options)};
}

}  // namespace moegrad
