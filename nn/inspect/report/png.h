// Pixels as a picture that stands in the page itself.
#pragma once
#include <string>
#include <vector>

#include "core/fwd.h"

namespace moegrad::report {

std::string base64(const std::vector<unsigned char>& bytes);

/// "data:image/png;base64,.." of [height x width x channels], with channels 3 (RGB) or 4 (RGB and opacity).
std::string png_uri(i64 height, i64 width, i64 channels, const std::vector<unsigned char>& pixels);

}  // namespace moegrad::report
