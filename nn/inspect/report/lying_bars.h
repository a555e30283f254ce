#pragma once
#include "nn/inspect/report/frame.h"

namespace moegrad::report {

/// Bars from left to right below each other, each with its value: there is room for long labels. Where all have error
/// bars and lie far from zero they are points instead, on an axis of their own range: what counts then is how far they
/// are from each other.
std::string lying_bars(const BarChart& chart, const std::string& what);

/// From 0, or the lowest value below it, to the highest; level and error bars included.
Axis axis_from_zero(const BarChart& chart);

}  // namespace moegrad::report
