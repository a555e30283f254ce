// The language of axis patterns: "b c (h h1) -> b (c h1) h".
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "core/fwd.h"

namespace moegrad {

/// One elementary axis: a name, a number (an axis of that size, named by nobody) or "...".
struct PatternAxis {
  enum class Kind { name, number, ellipsis };
  Kind kind = Kind::name;
  std::string name;  ///< as written: "h1", "3", "..."
  i64 size = -1;     ///< of a number
};

/// One axis of a tensor as a pattern writes it: "h", "(h h1)", "...", "(b ...)"; `1` and `()` have no elements.
struct PatternGroup {
  std::vector<PatternAxis> axes;
  bool parenthesised = false;
  bool is_ellipsis() const { return !parenthesised && axes.size() == 1 && axes[0].kind == PatternAxis::Kind::ellipsis; }
  std::string text() const;  ///< "(h h1)"
};

struct PatternSide {
  std::vector<PatternGroup> groups;
  bool has_ellipsis = false;
  /// The axis of that name, or nullptr.
  const PatternAxis* find(std::string_view name) const;
};

/// A pattern that has been read, and whose two sides agree as its op demands.
struct Pattern {
  enum class Op { rearrange, reduce, repeat };
  PatternSide left, right;

  /// Names are ASCII letters, digits and "_", begin with a letter and do not end with "_". Numbers are 1 or more; 1 is
  /// the same as (). Spaces part words and carry no other meaning.
  ///   Errors  Error: a character or word that has no meaning, parentheses that do not match or are nested, a name
  ///           twice on a side, "..." twice, on the right side only or inside parentheses on the left side, not one
  ///           "->"; an axis on one side only where the op neither removes nor makes axes
  static Pattern parse(Op op, std::string_view text);
};

const char* name(Pattern::Op op);

/// `rearrange "a b -> b": `, with bytes that cannot be printed as '?'.
std::string pattern_prefix(const char* op, std::string_view pattern);
/// Throws Error with that prefix.
[[noreturn]] void throw_pattern(const char* op, std::string_view pattern, const std::string& rule);
/// What is wrong with a name, or nullptr.
const char* fault_of_axis_name(std::string_view name);

}  // namespace moegrad
