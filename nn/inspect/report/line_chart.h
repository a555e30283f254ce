#pragma once
#include "nn/inspect/report/frame.h"

namespace moegrad::report {

/// Lines, each with its band; for long series the band holds what a point of the screen stands for.
///   Errors  ShapeError: y, low or high of a series differ in length from its x
Drawn draw(const LineChart& chart);

}  // namespace moegrad::report
