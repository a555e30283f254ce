// One harness for every differentiable op: value against naive loops, gradients of order 1 and 2 against central
// differences, strided inputs, and what the rule reads against what it declares. All of it in f64; f32 and bf16 are
// compared with f64.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/autograd.h"
#include "core/tensor.h"

namespace moegrad::test {

using Args = const std::vector<Tensor>&;

/// How to draw an input.
struct Input {
  Shape shape;
  double low = -1, high = 1;          ///< uniform, unless `values` is given
  bool differentiable = true;         ///< false: no gradient is asked for
  std::optional<Tensor> values = {};  ///< used as they are (indices, masks, ties)

  Input(std::initializer_list<i64> sizes) : shape(sizes) {}
  Input(const Shape& s) : shape(s) {}
  Input(const Shape& s, double lo, double hi) : shape(s), low(lo), high(hi) {}
  /// A fixed input without a gradient.
  static Input fixed(const Tensor& t);
  /// Given values with a gradient.
  static Input at(const Tensor& t);
};

struct OpCheck {
  /// The public op under test, as in ops/: "softmax". The table of coverage counts the check for this op.
  std::string name = {};
  std::function<Tensor(Args)> op;
  /// The same function in naive loops over f64 values: no op of the library under test may appear in it.
  std::function<Tensor(Args)> reference = {};
  std::vector<Input> inputs = {};
  int order = 2;            ///< gradients checked: 0, 1 or 2
  double tolerance = 1e-7;  ///< of central differences with eps 1e-5: their own error is about 1e-10 + |f'''| 1e-10
  double value_tolerance = 1e-12;  ///< f64 value against the reference
  double f32_tolerance = 1e-5;     ///< f32 value against the f64 one, relative to 1 + max|y|
  bool strided = true;             ///< again with transposed, offset and stepped inputs
  bool audit = true;               ///< every declared save must be read
  bool f32 = true;
  /// bf16 value and gradient against those in f64 of the same inputs, which are rounded to bf16 first, so that their
  /// rounding does not count. One rounding errs by at most 2^-8 of a number (8 significant bits, to nearest),
  /// arithmetic in f32 by next to nothing. Allowed, relative to 1 + max|y|: one rounding of the value, and half of one
  /// for those of intermediate results, where an op is a composite; three for a gradient, whose rule is one. When this
  /// was written, the ops needed 0.94 and 1.41; an op with more roundings states its own tolerance, and why.
  double bf16_tolerance = 1.5 * 0x1p-8, bf16_gradient_tolerance = 3 * 0x1p-8;
  bool bf16 = true;  ///< false only with the reason beside it
  u64 seed = 1;
};

/// Runs the checks as doctest assertions; a failure prints op, seed, index, both numbers and the tolerance.
void check_op(const OpCheck& check);

/// Naive references: y[i] = f(x..[i]) with broadcasting.
std::function<Tensor(Args)> naive_map(std::function<double(const std::vector<double>&)> f);
/// Visits every multi-index of a shape in row-major order.
void for_each_index(const Shape& shape, const std::function<void(const std::vector<i64>&)>& visit);
/// x[index] and x[index] = v, in any layout.
double value_at(const Tensor& x, const std::vector<i64>& index);
void set_value(const Tensor& x, const std::vector<i64>& index, double v);

/// Uniform values in [low, high), reproducible.
Tensor random_tensor(const Shape& shape, u64 seed, double low = -1, double high = 1, DType dtype = DType::f64);
/// Indices i64 in [-1, n), reproducible; about one in five is -1, and others come again.
Tensor random_index(const Shape& shape, i64 n, u64 seed);
/// The same values in another memory layout: axes reversed, a gap between elements, a non-zero offset.
Tensor strided_copy(const Tensor& x);
/// max|a - b| / (1 + max|b|); infinite where shapes differ or one has NaN where the other does not.
double difference(const Tensor& a, const Tensor& b);

}  // namespace moegrad::test
