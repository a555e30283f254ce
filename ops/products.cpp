#include "ops/products.h"

#include <fmt/format.h>

#include "ops/arithmetic.h"
#include "ops/einsum.h"
#include "ops/matmul.h"
#include "ops/views.h"

namespace moegrad {
namespace {

void check_floats(const char* op, const Tensor& first, std::initializer_list<const Tensor*> others) {
  for (const Tensor* x : others) {
    if (!*x) continue;
    check_same_device(op, first, *x);
    check_same_dtype(op, first, *x);
  }
  if (!is_float(first.dtype())) throw_dtype(op, kFloats, first.dtype());
}

// The axes before the last one.
Shape rows_of(const Tensor& x) { return Shape(x.shape().begin(), x.shape().end() - 1); }

}  // namespace

Tensor outer(const Tensor& a, const Tensor& b) {
  if (a.rank() != 1 || b.rank() != 1)
    throw ShapeError(
        fmt::format("outer: a and b must be vectors; got a {} and b {}", to_string(a.shape()), to_string(b.shape())));
  check_same_device("outer", a, b);
  check_same_dtype("outer", a, b);
  if (a.dtype() == DType::boolean) throw_dtype("outer", "f32, f64, bf16, i32 or i64", a.dtype());
  return unsqueeze(a, 1) * b;
}

Tensor addmm(const Tensor& x, const Tensor& a, const Tensor& b, double beta, double alpha) {
  check_floats("addmm", x, {&a, &b});
  const bool fits =
      a.rank() == 2 && b.rank() == 2 && a.dim(1) == b.dim(0) && broadcasts_to(x.shape(), {a.dim(0), b.dim(1)});
  if (!fits)
    throw ShapeError(
        fmt::format("addmm: a must be [m, k], b [k, n], and x broadcast to [m, n]; got x {}, a {} and b {}",
                    to_string(x.shape()), to_string(a.shape()), to_string(b.shape())));
  const Tensor product = alpha == 1 ? matmul(a, b) : matmul(a, b) * alpha;
  if (beta == 0) return product;
  return product + (beta == 1 ? x : x * beta);
}

Tensor bilinear(const Tensor& x, const Tensor& z, const Tensor& w, const Tensor& b) {
  check_floats("bilinear", x, {&z, &w, &b});
  const bool fits = x.rank() > 0 && z.rank() > 0 && rows_of(x) == rows_of(z) && w.rank() == 3 &&
                    w.dim(1) == x.dim(-1) && w.dim(2) == z.dim(-1) && (!b || b.shape() == Shape{w.dim(0)});
  if (!fits)
    throw ShapeError(fmt::format(
        "bilinear: x must be [.., m], z [.., n], w [O, m, n] and b [O]; got x {}, z {}, w {}{}", to_string(x.shape()),
        to_string(z.shape()), to_string(w.shape()), b ? " and b " + to_string(b.shape()) : ""));
  const Tensor y = einsum("...i,oij,...j->...o", x, w, z);
  return b ? y + b : y;
}

}  // namespace moegrad
