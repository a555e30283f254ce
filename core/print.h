// Printing of tensors.
#pragma once
#include <iosfwd>
#include <string>
#include <string_view>

#include "core/tensor.h"

namespace moegrad {

/// Values in aligned columns, then dtype, shape and "requires_grad": [1.  , 0.25]  f32 [2]. Floats show up to 4
/// decimals, or all of them in scientific form; an exact zero shows none. Above 1,000 elements each axis shows its
/// first and last 3 entries, and `...` stands for the rest. Synchronises.
std::string to_string(const Tensor& x);
std::ostream& operator<<(std::ostream& out, const Tensor& x);

/// Text from a user, to be quoted in an error: bytes that are no printable ASCII become '?'.
std::string printable(std::string_view text);
/// One of its bytes: 'x', or byte 255.
std::string printable_character(char c);

}  // namespace moegrad
