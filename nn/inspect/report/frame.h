// What the drawings of figures have in common: a plot with axes, legends, tables of the data.
#pragma once
#include <string>
#include <vector>

#include "nn/inspect/figures.h"
#include "nn/inspect/report/axis.h"

namespace moegrad::report {

/// A figure as HTML, without the frame and the title that all have.
struct Drawn {
  const char* kind;         ///< "line-chart": the attribute data-figure
  std::string body;         ///< "": there is no data yet
  std::string remark = {};  ///< a sentence behind the note
  std::string data = {};    ///< below the note: a table, and what the script reads
  i64 points = 0;           ///< how many values it shows
  i64 categories = 0;       ///< it uses the colours of categories below this
  bool wide = false;        ///< it needs the whole width of the page
};

/// Labels of an axis, each at a place in [0, 1].
struct Ticks {
  std::vector<double> at;
  std::vector<std::string> labels;
  bool lines = true;  ///< a line through the plot at each
};
Ticks ticks_of(const Axis& axis);

/// An area with axes that takes whatever width there is: labels keep their size, and every second one below the plot
/// goes where there is no room.
struct Plot {
  std::string what;  ///< said to those who cannot see it
  std::string x_label, y_label;
  Ticks x, y;
  i64 most = 0;       ///< the height that it may be stretched to; 0: any
  i64 height = 240;   ///< of the area, in pixels
  std::string under;  ///< HTML below the lines of the axes
  std::string svg;    ///< drawn in units of a box of kBox x kBox, from the upper left
  std::string over;   ///< HTML above all
};
inline constexpr double kBox = 10000;
std::string plot_html(const Plot& plot);

/// "123,45" of a point of the box, from the lower left, both in [0, 1].
std::string box_point(double x, double y);

struct LegendEntry {
  std::string name;
  i64 category = 0;  ///< -1: a dashed line that values are compared with
};
std::string legend_html(const std::vector<LegendEntry>& entries);

/// A folded table, for those who cannot see the drawing. Rows that would make it too long are left out evenly.
std::string data_table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows);

/// <table>..</table>; columns whose cells are numbers stand to the right.
std::string table_html(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows);

/// The scale of colours from low to high, with a mark at `level` where there is one.
struct ColourBar {
  std::string what;
  double low = 0, high = 1;
  bool more = false;  ///< values above high have its colour
  double level = kNoValue;
  std::string level_name = {};
};
std::string colour_bar(const ColourBar& bar);

/// Throws ShapeError: "<kind> '<title>': <rule>; got <got>".
[[noreturn]] void misfit(const char* kind, const std::string& title, const std::string& rule, const std::string& got);

}  // namespace moegrad::report
