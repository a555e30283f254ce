// Gradients against central differences, for models that route: a difference across a choice that flips says nothing.
#pragma once
#include <string>
#include <vector>

#include "ops/autodiff/derivatives.h"

namespace moegrad {

struct GradcheckOptions {
  double eps = 1e-5;   ///< step of the central difference
  double rtol = 1e-6;  ///< allowed: atol + rtol max(|numeric|, |analytic|)
  double atol = 1e-7;
  int order = 1;   ///< 2: also the gradient of the gradient
  i64 most = 200;  ///< elements checked per input: all, or this many drawn at random and one random direction
  bool freeze_routes = false;  ///< replay the choices made at the inputs, and so check the smooth part alone
  u64 seed = 1;                ///< of the weights that make fn's output a scalar, and of drawn elements
  /// Where a step flips a choice, or could: this many times other inputs near by are tried (each element moved by up to
  /// 1 % of 1 + its size), before that is reported.
  int redraw = 0;
  std::vector<std::string> names = {};  ///< of the inputs, for the report; may be left out
};

/// What gradcheck found about one input: its worst element.
struct InputReport {
  std::string name;
  Shape shape;
  bool ok = true;
  int order = 0;
  i64 element = -1;  ///< in row-major order; -1: a random direction
  double numeric = 0, analytic = 0, error = 0, allowed = 0;
  /// Why a gradient of zeros is right ("no gradient for 3, which choice 0 (top_k) never takes"), or not.
  std::string note;
  std::string reason;  ///< as GradReport::reason: why there is nothing to compare
  double relative() const;
  /// "w1 [4, 2]: ok, worst element 5 = [2, 1]: numeric 1.25, analytic 1.25, relative error 1e-11; no gradient for 3,
  /// which .."
  std::string text() const;
};

/// What gradcheck found. `ok` is false where an element is off, not finite, or a step changed what `choose` chose.
struct GradReport {
  bool ok = true;
  int order = 0;  ///< of the worst element
  int input = -1;
  i64 element = -1;  ///< in row-major order; -1: the random direction
  double numeric = 0, analytic = 0, error = 0, allowed = 0;
  i64 checked = 0;                  ///< central differences taken
  std::string reason;               ///< in words, where it is not a difference of two numbers
  bool flips = false;               ///< the reason is a choice that a step flips, or could
  int redrawn = 0;                  ///< how often other inputs were tried
  std::vector<InputReport> inputs;  ///< of each input the worst element
  /// "gradient of order 1, input 0 (w1), element 5: numeric 1.25, analytic 1.5, ..".
  std::string text() const;
  /// text(), then a line for each input.
  std::string table() const;
};

/// Compares the gradient of sum(w * fn(xs)), w random, with central differences at xs.
///   xs       f64 tensors; values are copied, so fn may not depend on handles to them
///   Choices  a step that flips one is no derivative; nor is one that comes near it: the margin by which a choice was
///            decided (core/choose.h) is less than twice what the step moves it by. Both fail and name choice, margin
///            and step
///   Zeros    an input, or a position of its first axis, whose gradient is 0 everywhere passes where the differences
///            are 0, too. The report says if it belongs to an outcome that no choice took: an expert without tokens.
///            Where the differences are not 0, the gradient was lost
///   Errors   DTypeError: an x is not f64.  Error: names are given, but not one for each x; order is not 1 or 2,
///            eps not above 0.  Whatever fn throws
/// nn/gradcheck.h does this for the parameters of a module.
/// Source: (f(x + eps) - f(x - eps)) / (2 eps), error O(eps^2).
GradReport gradcheck(const Function& fn, const std::vector<Tensor>& xs, const GradcheckOptions& options = {});

}  // namespace moegrad

/// For doctest files: CHECK_GRADIENTS(fn, {x, w}) or CHECK_GRADIENTS(fn, {x, w}, {.order = 2}).
#define CHECK_GRADIENTS(fn, ...)                                                 \
  do {                                                                           \
    const ::moegrad::GradReport report_ = ::moegrad::gradcheck(fn, __VA_ARGS__); \
    CHECK_MESSAGE(report_.ok, report_.text());                                   \
  } while (false)
