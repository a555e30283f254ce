// What a pattern means for a shape: the few ops that carry it out.
#pragma once
#include <span>
#include <string_view>

#include "core/shape.h"
#include "ops/pattern_parse.h"

namespace moegrad {

/// The size of a named axis: {"h1", 2}.
struct AxisSize {
  std::string_view name;
  i64 size;
};

/// x -> reshape to `split` -> reduce `reduced` -> permute by `order` -> reshape to `spread` -> expand to `repeated` ->
/// reshape to `result`. Steps that change nothing cost nothing.
struct EinopsPlan {
  Shape split;     ///< the elementary axes of the left side
  Axes reduced;    ///< those that the right side does not name
  Axes order;      ///< the others in the order of the right side
  Shape spread;    ///< the elementary axes of the right side, new ones with size 1
  Shape repeated;  ///< the same with their sizes
  Shape result;

  ///   Errors  Error: as Pattern::parse; a size of an axis that is not in the pattern, twice, or negative.
  ///           ShapeError: other number of axes, an axis that has another size or is not divisible, sizes that are
  ///           neither given nor to be worked out, more than 12 elementary axes
  static EinopsPlan make(Pattern::Op op, std::string_view pattern, const Shape& shape, std::span<const AxisSize> sizes);
};

}  // namespace moegrad
