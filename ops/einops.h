// Axes moved, reduced and repeated by name, in the patterns of einops:
// rearrange(x, "b c (h h1) -> b h (h1 c)", {{"h1", 2}}).
#pragma once
#include <initializer_list>
#include <span>
#include <string_view>

#include "core/tensor.h"
#include "ops/einops_plan.h"

namespace moegrad {

/// y = x with its axes split, reordered and joined as the pattern says.
///   Language  a side lists the axes: a name; several names in parentheses are one axis, the last varying fastest; `1`
///             and `()` are axes of size 1; "..." stands for any axes. A left "(h h1)" is split by the sizes given, of
///             which one may be left out. Every axis is on both sides, "..." may be joined on the right: "b (...)"
///   Shapes    as the pattern says.  A view where strides allow, else one copy
///   Dtypes    any
///   Gradient  dx = dy rearranged back; any order (a composition of reshape and permute)
///   Errors    they quote the pattern. Error: it cannot be read, an axis is on one side only, a size for an axis that
///             is not in it.  ShapeError: x does not fit it, a size is missing or does not divide
///   Source    Einops: Clear and Reliable Tensor Manipulations with Einstein-like Notation (ICLR 2022)
/// A structured one-hot keeps its structure where only row axes are split or joined (rule R3).
Tensor rearrange(const Tensor& x, std::string_view pattern, std::span<const AxisSize> sizes);

/// y = x reduced over the axes that only the left side names; the others are rearranged.
///   Language  as rearrange; a number n on the left side is an axis of size n that is reduced: "b (n 3) d -> b n d",
///             and "..." may be missing on the right
///   reduction "sum", "mean", "max", "min", "prod" as the ops sum, mean, amax, amin, prod; "any", "all"
///   Shapes    as the pattern says.  mean, max and min need elements
///   Dtypes    those of the op: mean takes floating tensors only, sum of integers and bools gives i64, any gives bool
///   Gradient  that of the op; ties of max and min share it evenly; any order. any and all have none
///   Errors    as rearrange; Error: another reduction
Tensor reduce(const Tensor& x, std::string_view pattern, std::string_view reduction, std::span<const AxisSize> sizes);

/// y = x repeated along the axes that only the right side names, whose sizes are given, or which are numbers:
/// repeat(x, "h w -> (h h2) w 3", {{"h2", 2}}).
///   Shapes    as the pattern says.  A view (stride 0) unless new axes are joined with others
///   Gradient  dx = dy summed over the repeats; any order.  Dtypes: any.   Errors: as rearrange
Tensor repeat(const Tensor& x, std::string_view pattern, std::span<const AxisSize> sizes);

using AxisSizes = std::initializer_list<AxisSize>;
inline Tensor rearrange(const Tensor& x, std::string_view pattern, AxisSizes sizes = {}) {
  return rearrange(x, pattern, std::span<const AxisSize>(sizes.begin(), sizes.size()));
}
inline Tensor reduce(const Tensor& x, std::string_view pattern, std::string_view reduction, AxisSizes sizes = {}) {
  return reduce(x, pattern, reduction, std::span<const AxisSize>(sizes.begin(), sizes.size()));
}
inline Tensor repeat(const Tensor& x, std::string_view pattern, AxisSizes sizes = {}) {
  return repeat(x, pattern, std::span<const AxisSize>(sizes.begin(), sizes.size()));
}

/// How many plans rearrange, reduce and repeat have made on this thread: one per pattern, shape and sizes. For tests.
i64 einops_plans_made();

}  // namespace moegrad
