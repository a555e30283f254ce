#include "nn/inspect/report/frame.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/errors.h"
#include "nn/inspect/report/html.h"
#include "nn/inspect/report/palette.h"

namespace moegrad::report {
namespace {

constexpr std::size_t kTableCells = 1200;
constexpr double kPhone = 34;    // digits beside each other on the narrowest screen
constexpr double kOneLine = 36;  // longer cells of a table may be broken

// The width of a label in widths of a digit: letters and minus signs are wider.
double width_of(const std::string& label) {
  const auto first_byte = [](char c) { return (c & 0xC0) != 0x80; };
  const bool plain = label.find_first_not_of("0123456789.,") == std::string::npos;
  return static_cast<double>(std::count_if(label.begin(), label.end(), first_byte)) + (plain ? 0 : 1);
}

std::string lines(const Plot& plot) {
  std::string path;
  for (const double y : plot.y.at)
    if (plot.y.lines) path += fmt::format("M0 {:.0f}H{:.0f}", (1 - y) * kBox, kBox);
  for (const double x : plot.x.at)
    if (plot.x.lines) path += fmt::format("M{:.0f} 0V{:.0f}", x * kBox, kBox);
  return path.empty() ? "" : fmt::format("<path class=\"grid\" d=\"{}\"/>", path);
}

std::string labels(const Plot& plot) {
  std::string out;
  for (std::size_t i = 0; i < plot.y.at.size(); ++i)
    out += fmt::format("<span class=\"yt\" style=\"top:{:.4g}%\">{}</span>", 100 * (1 - plot.y.at[i]),
                       escape(plot.y.labels[i]));
  double wide = 0;
  for (const std::string& label : plot.x.labels) wide += width_of(label) + 2;
  for (std::size_t i = 0; i < plot.x.at.size(); ++i)
    out += fmt::format("<span class=\"xt{}\" style=\"left:{:.4g}%\">{}</span>",
                       i % 2 == 1 && wide > kPhone ? " alt" : "", 100 * plot.x.at[i], escape(plot.x.labels[i]));
  return out;
}

bool numeric(const std::string& cell) {
  return !cell.empty() && cell.find_first_of("0123456789") != std::string::npos &&
         cell.find_first_not_of("0123456789.,+-eEkMGTx%±∞− ") == std::string::npos;
}

// Which columns hold numbers, or nothing, in every row.
std::vector<bool> numeric_columns(std::size_t columns, const std::vector<std::vector<std::string>>& rows) {
  std::vector<bool> is(columns, !rows.empty());
  for (const auto& row : rows)
    for (std::size_t c = 0; c < columns; ++c) is[c] = is[c] && (row[c].empty() || numeric(row[c]));
  return is;
}

}  // namespace

Ticks ticks_of(const Axis& axis) {
  Ticks ticks{.labels = axis.labels};
  for (const double t : axis.ticks) ticks.at.push_back(axis.at(t));
  return ticks;
}

std::string plot_html(const Plot& plot) {
  double gutter = 1;
  for (const std::string& label : plot.y.labels) gutter = std::max(gutter, width_of(label));
  std::string out = fmt::format("<div class=\"chart\" style=\"--gutter:{}ch\">", std::min(gutter, 18.0));
  if (!plot.y_label.empty()) out += fmt::format("<div class=\"yl\">{}</div>", escape(plot.y_label));
  out += fmt::format("<div class=\"plot\" role=\"img\" tabindex=\"0\" aria-label=\"{}\" style=\"min-height:{}px{}\">{}",
                     escape(plot.what), plot.height, plot.most > 0 ? fmt::format(";max-height:{}px", plot.most) : "",
                     plot.under);
  out += fmt::format("<svg viewBox=\"0 0 {0} {0}\" preserveAspectRatio=\"none\" aria-hidden=\"true\">{1}{2}</svg>",
                     kBox, lines(plot), plot.svg);
  out += labels(plot) + plot.over + "</div>";
  if (!plot.x_label.empty()) out += fmt::format("<div class=\"xl\">{}</div>", escape(plot.x_label));
  return out + "</div>\n";
}

std::string box_point(double x, double y) { return fmt::format("{:.0f} {:.0f}", x * kBox, (1 - y) * kBox); }

std::string legend_html(const std::vector<LegendEntry>& entries) {
  if (entries.empty()) return "";
  std::string out = "<ul class=\"legend\">";
  for (const LegendEntry& e : entries)
    out += e.category < 0
               ? fmt::format("<li><i class=\"level\"></i>{}</li>", escape(e.name))
               : fmt::format("<li><i class=\"e{} d{}\"></i>{}</li>", e.category, e.category / 8 % 3, escape(e.name));
  return out + "</ul>\n";
}

std::string table_html(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows) {
  const std::vector<bool> right = numeric_columns(header.size(), rows);
  const auto row_html = [&](const std::vector<std::string>& cells, const char* tag) {
    std::string out = "<tr>";
    for (std::size_t c = 0; c < cells.size(); ++c)
      out += fmt::format("<{0}{1}>{2}</{0}>", tag,
                         right[c]                        ? " class=\"n\""
                         : width_of(cells[c]) > kOneLine ? " class=\"long\""
                                                         : "",
                         escape(cells[c]));
    return out + "</tr>";
  };
  std::string out = "<div class=\"scroll\"><table><thead>" + row_html(header, "th") + "</thead><tbody>";
  for (const auto& row : rows) out += row_html(row, "td");
  return out + "</tbody></table></div>\n";
}

std::string data_table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows) {
  const std::size_t room = std::max<std::size_t>(20, kTableCells / std::max<std::size_t>(1, header.size()));
  std::vector<std::vector<std::string>> shown;
  const std::size_t n = std::min(room, rows.size());
  for (std::size_t i = 0; i < n; ++i) shown.push_back(rows[n == 1 ? 0 : i * (rows.size() - 1) / (n - 1)]);
  const std::string title =
      n == rows.size() ? "Data as a table" : fmt::format("Data as a table: {} of {} rows", n, rows.size());
  return fmt::format("<details><summary>{}</summary>{}</details>\n", title, table_html(header, shown));
}

std::string colour_bar(const ColourBar& bar) {
  std::string stops, mark, name;
  for (int i = 0; i <= 16; ++i) stops += fmt::format("{}{}", i > 0 ? "," : "", hex(sequential(i / 16.0)));
  if (bar.level >= bar.low && bar.level <= bar.high) {
    mark = fmt::format("<i style=\"left:{:.4g}%\"></i>", 100 * (bar.level - bar.low) / (bar.high - bar.low));
    name = fmt::format("<span class=\"mark\"><i></i>{} {}</span>", escape(bar.level_name), number(bar.level, 3));
  }
  return fmt::format(
      "<div class=\"bar\"><span class=\"what\">{}</span>{}<span class=\"scale\"><span>{}</span><span class=\"ramp\" "
      "style=\"background:linear-gradient(90deg,{})\">{}</span><span>{}{}</span></span></div>\n",
      escape(bar.what), name, number(bar.low, 3), stops, mark, bar.more ? "\u2265 " : "", number(bar.high, 3));
}

void misfit(const char* kind, const std::string& title, const std::string& rule, const std::string& got) {
  throw ShapeError(fmt::format("{} '{}': {}; got {}", kind, title, rule, got));
}

}  // namespace moegrad::report
