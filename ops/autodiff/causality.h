// Does a position see the future?
#pragma once
#include <string>

#include "ops/autodiff/derivatives.h"

namespace moegrad {

struct CausalityOptions {
  i64 most = 12;  ///< cuts between prefix and suffix: all, or this many spread evenly
  int draws = 3;  ///< other suffixes per cut, each ten times as large as the one before
  /// Of f64, relative to 1 + the largest value: sums over other rows may round in another order.
  double tolerance = 1e-9;
  double f32_tolerance = 1e-4;  ///< of f32; of bf16 a hundred times this
  u64 seed = 1;
};

/// What causality_check found.
struct CausalityReport {
  bool ok = true;
  i64 cut = -1;           ///< y before this position sees x from it on
  bool jacobian = false;  ///< the values agree, but the gradient does not
  /// The first position of y whose value moved, or of x that the gradient should not reach or move at.
  i64 position = -1;
  double change = 0;  ///< by how much
  std::string op;     ///< the first op that leaks, with operands and attributes; empty if no op shows it
  std::string layer;  ///< that called it (nn/context.h)
  i64 checked = 0;    ///< runs that were compared
  /// "causality: y before position 3 must not see x from there on; its value at position 2 moves by 0.12; the first op
  /// that leaks is softmax(f64 [1, 5, 3]; axes = [1]), in layer 'blocks.0.attention'"
  std::string text() const;
};

/// Replaces x from a cut on by other values, for every cut, and requires y = fn(x) before the cut to stay as it is; and
/// with it the gradient of y before the cut: none to x after it, and the same to x before it.
///   Shapes   y has the axis of x at the same place: x [B, S] or [B, S, D], y [B, S, ..], axis 1
///   Integers x i64 or i32 (tokens): replaced by other values that x holds, which must be two at least; no gradient
///            then
///   Leak     the op that is named is the first, in the order of the run, whose output moves before the cut along all
///            axes of the size of x's axis; or the one that summed the axis away before that; or a choice (top_k along
///            the axis) that takes other positions before the cut. So make that size differ from all others (also from
///            B times it: B = 1 is best). The verdict does not depend on this
///   fn       gives the same for the same x (no dropout); every op's output is kept while it runs
///   Errors   ShapeError: axis out of range; y has another size there.  DTypeError: x is bool.  Error: fn is not
///            reproducible; x is not finite, or holds one integer only; fewer than two positions, no cut or no draw,
///            so that nothing would be compared
CausalityReport causality_check(const FunctionOfOne& fn, const Tensor& x, int axis,
                                const CausalityOptions& options = {});

}  // namespace moegrad

/// For doctest files: CHECK_CAUSAL(fn, x, axis).
#define CHECK_CAUSAL(fn, ...)                                                               \
  do {                                                                                      \
    const ::moegrad::CausalityReport report_ = ::moegrad::causality_check(fn, __VA_ARGS__); \
    CHECK_MESSAGE(report_.ok, report_.text());                                              \
  } while (false)
