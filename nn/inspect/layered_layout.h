// Where the boxes and arrows of a graph go, layer by layer from above to below, so that nothing covers anything.
#pragma once
#include <vector>

#include "core/fwd.h"

namespace moegrad {

struct LayoutPoint {
  double x = 0, y = 0;
};
struct LayoutBox {
  double width = 0, height = 0;
  double x = 0, y = 0;  ///< of its centre; given back
};
/// An arrow and the text on it, which gets room of its own.
struct LayoutLink {
  i64 from = 0, to = 0;  ///< places in the list of boxes
  double width = 0;      ///< of its text
  LayoutPoint text;      ///< the text's centre; given back
  /// From the lower edge of `from` to the upper edge of `to`; given back. Between points 2 i and 2 i + 1 it passes a layer
  /// straight down, between the others is free space. The text is in the last layer but one.
  std::vector<LayoutPoint> way = {};
};
struct Layout {
  std::vector<LayoutBox> boxes;
  std::vector<LayoutLink> links;
  double width = 0, height = 0;
};

/// Lays out a graph without circles. A box stands as far above the last layer as its longest path to a box without
/// links is long; within a layer, boxes are in the order of the mean of their neighbours' positions, and near it.
///   Source  Methods for visual understanding of hierarchical system structures (1981): layers, dummies, barycentres
///   Errors  Error: links go in a circle
Layout layered_layout(std::vector<LayoutBox> boxes, std::vector<LayoutLink> links);

}  // namespace moegrad
