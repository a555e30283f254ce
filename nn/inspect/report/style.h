#pragma once
#include <string>

#include "core/fwd.h"

namespace moegrad::report {

/// How much of its colour the ground of a character has whose gate is 1.
inline constexpr double kStrongest = 0.38;

/// The style of a page whose figures use the colours of categories below `categories`: light or dark as the reader's
/// system says, or as the attribute data-theme of the page does.
std::string style(i64 categories);

}  // namespace moegrad::report
