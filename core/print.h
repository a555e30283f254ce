// Printing of tensors.
#pragma once
#include <iosfwd>
#include <string>

#include "core/tensor.h"

namespace moegrad {

/// Values in aligned columns, then shape, dtype (unless f32) and "requires_grad". Above 1,000 elements each axis shows
/// its first and last 3 entries, and `...` stands for the rest. Synchronises.
std::string to_string(const Tensor& x);
std::ostream& operator<<(std::ostream& out, const Tensor& x);

}  // namespace moegrad
