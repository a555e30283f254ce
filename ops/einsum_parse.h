// The language of einsum equations.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"

namespace moegrad {

/// An equation applied to shapes: a label per axis. Letters are labels 0..51 (a-z, A-Z); axes of "..." are labels 52..,
/// counted so that axes at the same distance from its right end are alike.
struct Equation {
  std::vector<InlineList<int>> operands;
  InlineList<int> result;
  i64 size[64] = {};  ///< of each label; size-1 axes broadcast

  /// Reads "bnd,de->bne" for operands of these shapes. Without "->" the result has the axes of "..." and then the
  /// letters that occur once, upper case first. Spaces may stand anywhere but inside "..." and "->".
  ///   Errors  Error: a character that has no meaning, with its position.  ShapeError: another number of operands or
  ///           axes, a letter with two sizes, a result letter that is repeated or in no operand
  static Equation parse(std::string_view text, const std::vector<Shape>& shapes);
};

/// 'd', or '...' and its axis.
std::string label_name(int label);

}  // namespace moegrad
