// Texts and pictures whose parts carry the colour of their expert.
#pragma once
#include "nn/inspect/report/frame.h"

namespace moegrad::report {

/// Of both the first layer is shown, and buttons show the others.
///   Errors  ShapeError: a layer has not one expert, weight and detail (or no details) for every character or patch; an
///           expert outside [-1, experts); a picture whose pixels are not height x width x 3
Drawn draw(const RoutedText& text);
Drawn draw(const RoutedImages& images);

}  // namespace moegrad::report
