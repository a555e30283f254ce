#pragma once
#include "nn/inspect/report/frame.h"

namespace moegrad::report {

/// Cells as the pixels of a picture; more columns than a screen has are averaged in groups.
///   Errors  ShapeError: values are not rows x columns
Drawn draw(const HeatMap& map);

/// The picture of values [rows x columns] on a scale of colours from low to high; those without a value are clear.
std::string picture_of(const std::vector<double>& values, i64 rows, i64 columns, double low, double high);

/// Ends of n cells with the given centres, n + 1 of them: half way between neighbours.
std::vector<double> edges_of(const std::vector<double>& centres);

}  // namespace moegrad::report
