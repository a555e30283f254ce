// A report: figures in one HTML file that needs nothing else, no network and no other file.
#pragma once
#include <utility>

#include "nn/inspect/figures.h"

namespace moegrad {

struct Report {
  struct Section {
    std::string heading;
    std::string text;  ///< a paragraph below the heading
    std::vector<Figure> figures;
  };
  std::string title, subtitle;
  std::string command;                                     ///< what was typed, to run it again
  std::vector<std::pair<std::string, std::string>> facts;  ///< the result at a glance: ("validation", "1.62 nats")
  std::vector<Section> sections;

  /// The page: inline SVG and a little script, light and dark after the reader's setting, wide and narrow. Text is
  /// escaped, whatever it holds; bytes that are not UTF-8 become U+FFFD.
  ///   Errors  ShapeError: a figure whose lists do not fit each other, by its title
  std::string html() const;
  /// Writes the page, wholly or not at all.
  ///   Errors  as html; IoError: the file cannot be written
  void write(const std::string& path) const;
};

}  // namespace moegrad
