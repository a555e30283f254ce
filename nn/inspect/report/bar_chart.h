#pragma once
#include "nn/inspect/report/frame.h"

namespace moegrad::report {

/// Upright bars, or lying ones where the labels are long.
///   Errors  ShapeError: a group, or its error bars, differ in length from the labels
Drawn draw(const BarChart& chart);

}  // namespace moegrad::report
