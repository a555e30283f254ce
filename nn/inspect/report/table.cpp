#include "nn/inspect/report/table.h"

#include <fmt/format.h>

#include <algorithm>

namespace moegrad::report {
namespace {

// A small table shares its line with another figure.
bool fits_half(const Table& table) {
  std::size_t widest = 0;
  for (const auto& row : table.rows) {
    std::size_t characters = 0;
    for (const std::string& cell : row) characters += cell.size() + 3;
    widest = std::max(widest, characters);
  }
  return widest < 60 && table.rows.size() <= 12;
}

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (std::size_t i = 0; (i = text.find(from, i)) != std::string::npos; i += to.size())
    text.replace(i, from.size(), to);
}

std::size_t count(const std::string& text, const std::string& what) {
  std::size_t n = 0;
  for (std::size_t i = 0; (i = text.find(what, i)) != std::string::npos; i += what.size()) ++n;
  return n;
}

}  // namespace

Drawn draw(const Table& table) {
  for (const auto& row : table.rows)
    if (row.size() != table.header.size())
      misfit("table", table.title, "a row must have as many cells as the header",
             fmt::format("{} and {}", row.size(), table.header.size()));
  Drawn drawn{.kind = "table", .points = static_cast<i64>(table.rows.size() * table.header.size())};
  if (drawn.points == 0) return drawn;
  drawn.wide = !fits_half(table);
  drawn.body = table_html(table.header, table.rows);
  return drawn;
}

Drawn draw(const Drawing& drawing, const std::string& id_prefix) {
  Drawn drawn{.kind = "drawing", .wide = true};
  if (drawing.svg.empty()) return drawn;
  std::string svg = drawing.svg;
  svg.erase(0, svg.find_first_not_of(" \r\n\t"));
  svg.erase(svg.find_last_not_of(" \r\n\t") + 1);
  if (!svg.starts_with("<svg") || !svg.ends_with("</svg>") || count(svg, "<svg") != count(svg, "</svg>"))
    misfit("drawing", drawing.title, "it must be one <svg> element", fmt::format("'{}..'", svg.substr(0, 20)));
  for (const char* strange : {"<script", "href=\"http", "url(http", "src="})
    if (svg.find(strange) != std::string::npos)
      misfit("drawing", drawing.title, "it must hold neither a script nor another file", fmt::format("'{}'", strange));
  for (const char* use : {" id=\"", "url(#", "href=\"#"}) replace_all(svg, use, use + id_prefix);
  drawn.points = static_cast<i64>(count(svg, "<") - count(svg, "</"));
  drawn.body = "<div class=\"scroll drawing\" tabindex=\"0\">" + svg + "</div>\n";
  return drawn;
}

}  // namespace moegrad::report
