#pragma once
#include "nn/inspect/report/frame.h"

namespace moegrad::report {

/// Tokens from left to right, layers from the bottom up: a cell in the colour of its gate where the token passes.
///   Errors  ShapeError: gates are not layers x tokens
Drawn draw(const DepthMap& map);

}  // namespace moegrad::report
