// What a report shows, as data: not a word here about how it is drawn (nn/inspect/report.h does that).
#pragma once
#include <limits>
#include <string>
#include <variant>
#include <vector>

#include "core/fwd.h"

namespace moegrad {

/// "No value here": left blank in every figure.
inline constexpr double kNoValue = std::numeric_limits<double>::quiet_NaN();

/// One line: y over x, in order of x. A band from low to high around it, where those are given.
struct Series {
  std::string name;
  std::vector<double> x, y;
  std::vector<double> low = {}, high = {};
};

/// Lines over a common axis.
struct LineChart {
  std::string title, x_label, y_label;
  std::vector<Series> series;
  std::string note = {};    ///< a sentence below the figure
  double level = kNoValue;  ///< a value to compare with: a dashed line, named level_name
  std::string level_name = {};
  bool log_y = false;
};

/// values[row, column] as colours.
struct HeatMap {
  std::string title, x_label, y_label, value_label;
  std::vector<std::string> rows;  ///< their names
  std::vector<double> columns;    ///< their positions on the x axis, rising: steps, positions of a sequence, ..
  std::vector<double> values;     ///< [rows x columns]
  std::string note = {};
  double low = kNoValue, high = kNoValue;  ///< ends of the colour scale; not given: those of the values
  double level = kNoValue;                 ///< a value marked on the scale, such as an even share
  std::string level_name = {};
};

/// One bar per label, for each group.
struct BarChart {
  std::string title, y_label;
  std::vector<std::string> labels;
  struct Group {
    std::string name;
    std::vector<double> values;               ///< one per label
    std::vector<double> low = {}, high = {};  ///< ends of an error bar on each, where those are given
  };
  std::vector<Group> groups;
  std::string note = {};
  double level = kNoValue;  ///< a dashed line across all bars
  std::string level_name = {};
};

/// Which expert worked on each of a list of things, in one layer.
struct LayerRoutes {
  std::string layer;
  i64 experts = 0;
  std::vector<i64> expert;          ///< of each thing its strongest; -1: none
  std::vector<double> weight;       ///< of that expert, in [0, 1]
  std::vector<std::string> detail;  ///< shown when the pointer rests on it: all experts with their gates
};

/// A text with every character in the colour of its expert; one layer at a time, chosen by the reader.
struct RoutedText {
  std::string title;
  std::vector<std::string> characters;
  std::vector<LayerRoutes> layers;  ///< one entry per character
  std::string note = {};
};

/// Pictures whose patches lie under the colour of their expert, for every layer.
struct RoutedImages {
  struct Picture {
    std::string caption;
    i64 height = 0, width = 0;
    std::vector<unsigned char> rgb;  ///< [height x width x 3]
  };
  std::string title;
  std::vector<Picture> pictures;
  i64 rows = 0, columns = 0;        ///< of patches in a picture
  std::vector<LayerRoutes> layers;  ///< one entry per picture and patch, patches row by row
  std::string note = {};
};

/// Mixture of depths: which tokens pass which layer, and with which gate.
struct DepthMap {
  std::string title;
  std::vector<std::string> tokens;
  std::vector<std::string> layers;  ///< the first at the bottom
  std::vector<double> gates;        ///< [layers x tokens]; kNoValue: the token goes around
  std::string note = {};
};

struct Table {
  std::string title;
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;  ///< cells that are numbers stand to the right
  std::string note = {};
};

/// A drawing that is SVG already, such as that of a graph (nn/inspect/graph_svg.h).
struct Drawing {
  std::string title, svg;
  std::string note = {};
};

using Figure = std::variant<LineChart, HeatMap, BarChart, RoutedText, RoutedImages, DepthMap, Table, Drawing>;

}  // namespace moegrad
