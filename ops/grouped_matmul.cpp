#include "ops/grouped_matmul.h"

#include <fmt/format.h>

#include "core/autograd.h"
#include "core/blas.h"
#include "core/parallel.h"
#include "ops/cast.h"
#include "ops/views.h"

namespace moegrad {
namespace {

Tensor checked_begin(const char* op, const Tensor& begin_any, i64 groups, i64 rows) {
  if (begin_any.dtype() != DType::i64) throw_dtype(op, "i64 (begin)", begin_any.dtype());
  if (begin_any.rank() != 1 || begin_any.size() != groups + 1)
    throw ShapeError(
        fmt::format("{}: begin must be [E + 1]; got begin {} for E = {}", op, to_string(begin_any.shape()), groups));
  const Tensor begin = contiguous(begin_any);
  const i64* b = begin.data<i64>();
  bool ascends = b[0] == 0 && b[groups] <= rows;
  for (i64 e = 0; e < groups; ++e) ascends &= b[e] <= b[e + 1];
  if (!ascends)
    throw IndexError(fmt::format("{}: begin must ascend from 0 to at most {}; got {} .. {} for {} groups", op, rows,
                                 b[0], b[groups], groups));
  return begin;
}

void check_matrices(const char* op, const Tensor& x, const Tensor& other, bool fits) {
  check_same_device(op, x, other);
  check_same_dtype(op, x, other);
  if (!is_float(x.dtype())) throw_dtype(op, kFloats, x.dtype());
  if (!fits)
    throw ShapeError(fmt::format("{}: sizes must fit; got x {} and {} {}", op, to_string(x.shape()),
                                 other.rank() == 3 ? "w" : "z", to_string(other.shape())));
}

bool by_columns(const Tensor& w) {
  return w.strides()[1] == 1 && w.strides()[2] == w.dim(1) && w.strides()[0] == w.dim(1) * w.dim(2);
}

// y without its graph. Of bf16 the operands are kept for the gradient as they are: only the product is f32.
Tensor product(const Tensor& x, const Tensor& w, const Tensor& begin) {
  no_grad guard;
  if (x.dtype() == DType::bf16) return narrow(product(widen(x), widen(w), begin));
  Tensor y = empty({x.dim(0), w.dim(2)}, x.dtype(), x.device());
  const GroupedSizes sizes{
      .groups = w.dim(0), .rows = x.dim(0), .inner = w.dim(1), .outer = w.dim(2), .w_transposed = !w.is_contiguous()};
  with_wide("grouped_matmul", x.dtype(), [&]<class F>() {
    MOEGRAD_LAUNCH(x.device(), grouped_matmul, x.data<F>(), w.data<F>(), begin.data<i64>(), y.data<F>(), sizes);
  });
  return y;
}
Tensor outer_product(const Tensor& x, const Tensor& z, const Tensor& begin) {
  no_grad guard;
  if (x.dtype() == DType::bf16) return narrow(outer_product(widen(x), widen(z), begin));
  const GroupedSizes sizes{.groups = begin.size() - 1, .rows = x.dim(0), .inner = x.dim(1), .outer = z.dim(1)};
  Tensor y = empty({sizes.groups, sizes.inner, sizes.outer}, x.dtype(), x.device());
  with_wide("grouped_outer", x.dtype(), [&]<class F>() {
    MOEGRAD_LAUNCH(x.device(), grouped_outer, x.data<F>(), z.data<F>(), begin.data<i64>(), y.data<F>(), sizes);
  });
  return y;
}

}  // namespace

Tensor grouped_matmul(const Tensor& x_any, const Tensor& w_any, const Tensor& begin_any) {
  check_matrices("grouped_matmul", x_any, w_any,
                 x_any.rank() == 2 && w_any.rank() == 3 && x_any.dim(1) == w_any.dim(1));
  const Tensor begin = checked_begin("grouped_matmul", begin_any, w_any.dim(0), x_any.dim(0));
  const Tensor x = contiguous(x_any), w = by_columns(w_any) ? w_any : contiguous(w_any);
  return record("grouped_matmul", product(x, w, begin), {x, w}, saves_crossed(x, w),
                [begin, transposed = !w.is_contiguous()](const GradArgs& g) -> Grads {
                  Tensor dx, dw;
                  if (g.needs(0)) dx = grouped_matmul(g.dy, swap_axes(g.in(1), 1, 2), begin);
                  // in w's own layout, so that the gradient of a transposed weight is contiguous where the weight is
                  if (g.needs(1))
                    dw = transposed ? swap_axes(grouped_outer(g.dy, g.in(0), begin), 1, 2)
                                    : grouped_outer(g.in(0), g.dy, begin);
                  return {dx, dw};
                });
}

Tensor grouped_outer(const Tensor& x_any, const Tensor& z_any, const Tensor& begin_any) {
  check_matrices("grouped_outer", x_any, z_any, x_any.rank() == 2 && z_any.rank() == 2 && x_any.dim(0) == z_any.dim(0));
  const Tensor begin = checked_begin("grouped_outer", begin_any, std::max<i64>(begin_any.size(), 1) - 1, x_any.dim(0));
  const Tensor x = contiguous(x_any), z = contiguous(z_any);
  return record("grouped_outer", outer_product(x, z, begin), {x, z}, saves_crossed(x, z),
                [begin](const GradArgs& g) -> Grads {
                  return {g.needs(0) ? grouped_matmul(g.in(1), swap_axes(g.dy, 1, 2), begin) : Tensor{},
                          g.needs(1) ? grouped_matmul(g.in(0), g.dy, begin) : Tensor{}};
                });
}

// Where groups are many and small, a thread takes whole groups; where they are large, BLAS shares each among the
// threads.
namespace {
i64 group_grain(const GroupedSizes& s) {
  constexpr i64 kLargeGroup = i64{1} << 27;  // FLOPs beyond which BLAS's own threads pay
  const i64 flops = 2 * s.rows * s.inner * s.outer / std::max<i64>(s.groups, 1);
  return flops > kLargeGroup || s.groups == 1 ? s.groups : 1;
}
}  // namespace

template <class F> void cpu::grouped_matmul(const F* x, const F* w, const i64* begin, F* y, const GroupedSizes& s) {
  std::fill(y + begin[s.groups] * s.outer, y + s.rows * s.outer, F(0));
  parallel_for(s.groups, group_grain(s), [&](i64 first, i64 last) {
    for (i64 e = first; e < last; ++e)
      gemm<F>({x + begin[e] * s.inner, s.inner},
              {w + e * s.inner * s.outer, s.w_transposed ? s.inner : s.outer, s.w_transposed}, y + begin[e] * s.outer,
              s.outer, begin[e + 1] - begin[e], s.outer, s.inner);
  });
}

template <class F> void cpu::grouped_outer(const F* x, const F* z, const i64* begin, F* y, const GroupedSizes& s) {
  parallel_for(s.groups, group_grain(s), [&](i64 first, i64 last) {
    for (i64 e = first; e < last; ++e)
      gemm<F>({x + begin[e] * s.inner, s.inner, true}, {z + begin[e] * s.outer, s.outer}, y + e * s.inner * s.outer,
              s.outer, s.inner, s.outer, begin[e + 1] - begin[e]);
  });
}

}  // namespace moegrad
