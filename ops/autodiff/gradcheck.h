// Gradients against central differences.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace moegrad {

using Function = std::function<Tensor(const std::vector<Tensor>&)>;

struct GradcheckOptions {
  double eps = 1e-5;   ///< step of the central difference
  double rtol = 1e-6;  ///< allowed: atol + rtol max(|numeric|, |analytic|)
  double atol = 1e-7;
  int order = 1;   ///< 2: also the gradient of the gradient
  i64 most = 200;  ///< elements checked per input: all, or this many drawn at random and one random direction
  bool freeze_routes = false;  ///< replay the choices made at the inputs, and so check the smooth part alone
  u64 seed = 1;                ///< of the weights that make fn's output a scalar, and of drawn elements
};

/// What gradcheck found. `ok` is false where an element is off, not finite, or a step changed what `choose` chose.
struct GradReport {
  bool ok = true;
  int order = 0;  ///< of the worst element
  int input = -1;
  i64 element = -1;  ///< in row-major order; -1: the random direction
  double numeric = 0, analytic = 0, error = 0, allowed = 0;
  i64 checked = 0;     ///< central differences taken
  std::string reason;  ///< in words, where it is not a difference of two numbers
  /// "gradient of order 1, input 0, element 5: numeric 1.25, analytic 1.5, ..".
  std::string text() const;
};

/// Compares the gradient of sum(w * fn(xs)), w random, with central differences at xs.
///   xs      f64 tensors; values are copied, so fn may not depend on handles to them
///   Errors  DTypeError: an x is not f64.  Whatever fn throws
/// Source: (f(x + eps) - f(x - eps)) / (2 eps), error O(eps^2).
GradReport gradcheck(const Function& fn, const std::vector<Tensor>& xs, const GradcheckOptions& options = {});

}  // namespace moegrad

/// For doctest files: CHECK_GRADIENTS(fn, {x, w}) or CHECK_GRADIENTS(fn, {x, w}, {.order = 2}).
#define CHECK_GRADIENTS(fn, ...)                                                 \
  do {                                                                           \
    const ::moegrad::GradReport report_ = ::moegrad::gradcheck(fn, __VA_ARGS__); \
    CHECK_MESSAGE(report_.ok, report_.text());                                   \
  } while (false)
