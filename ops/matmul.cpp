#include "ops/matmul.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/autograd.h"
#include "core/blas.h"
#include "core/parallel.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/views.h"

namespace moegrad {

Shape detail::batch_of(const Tensor& x) { return Shape(x.shape().begin(), x.shape().end() - 2); }

Nest<2> detail::batch_nest(const Tensor& a, const Tensor& b, const Shape& batch) {
  Nest<2> nest;
  nest.rank = std::max(batch.rank(), 1);
  std::copy(batch.begin(), batch.end(), nest.sizes);
  for (int k = 0; k < 2; ++k) {
    const Tensor& x = k == 0 ? a : b;
    const Shape own = batch_of(x);
    const Strides s = broadcast_strides(own, Strides(x.strides().begin(), x.strides().begin() + own.rank()), batch);
    std::copy(s.begin(), s.end(), nest.strides[k]);
  }
  return nest;
}

namespace {

using detail::batch_of;

// The last two axes as BLAS can read them.
struct Layout {
  bool readable, transposed;
  i64 stride;
};
Layout layout_of(const Tensor& x) {
  const i64 rows = x.dim(-2), columns = x.dim(-1), row = x.strides()[x.rank() - 2], column = x.strides()[x.rank() - 1];
  if ((column == 1 || columns == 1) && (row >= columns || rows == 1)) return {true, false, rows == 1 ? columns : row};
  if ((row == 1 || rows == 1) && (column >= rows || columns == 1)) return {true, true, columns == 1 ? rows : column};
  return {false, false, 0};
}
bool columns_contiguous(const Tensor& x) {
  const Layout l = layout_of(x);
  return l.readable && l.transposed;
}

void check(const Tensor& a, const Tensor& b) {
  check_same_device("matmul", a, b);
  check_same_dtype("matmul", a, b);
  if (!is_float(a.dtype())) throw_dtype("matmul", kFloats, a.dtype());
  if (a.rank() == 0 || b.rank() == 0)
    throw ShapeError(fmt::format("matmul: operands must have an axis to sum over; got a {} and b {}",
                                 to_string(a.shape()), to_string(b.shape())));
  const i64 inner_a = a.dim(-1), inner_b = b.dim(b.rank() == 1 ? 0 : -2);
  if (inner_a != inner_b)
    throw ShapeError(fmt::format("matmul: inner sizes must match; got a {} and b {} ({} != {})", to_string(a.shape()),
                                 to_string(b.shape()), inner_a, inner_b));
}

Shape batch_of_both(const Tensor& a, const Tensor& b) {
  const Shape p = batch_of(a), q = batch_of(b);
  for (int i = 1; i <= std::min(p.rank(), q.rank()); ++i)
    if (const i64 m = p[p.rank() - i], n = q[q.rank() - i]; m != n && m != 1 && n != 1)
      throw ShapeError(fmt::format("matmul: batch sizes must match or be 1; got a {} and b {} ({} != {})",
                                   to_string(a.shape()), to_string(b.shape()), m, n));
  return broadcast("matmul", p, q);
}

Tensor product(const Tensor& a, const Tensor& b, const Shape& batch) {
  if (a.dtype() == DType::bf16 && a.device() == Device::cpu) {
    no_grad guard;  // operands are kept for the gradient as they are: only the product is f32
    return narrow(product(widen(a), widen(b), batch));
  }
  Shape shape = batch;
  shape.push_back(a.dim(-2));
  shape.push_back(b.dim(-1));
  Tensor y = empty(shape, a.dtype(), a.device());
  const Layout la = layout_of(a), lb = layout_of(b);
  BatchedMatmul plan{.m = a.dim(-2),
                     .n = b.dim(-1),
                     .k = a.dim(-1),
                     .batch = detail::batch_nest(a, b, batch),
                     .a_stride = la.stride,
                     .b_stride = lb.stride,
                     .a_transposed = la.transposed,
                     .b_transposed = lb.transposed};
  merge_axes(plan.batch);
  if constexpr (kWithCuda) {
    if (a.dtype() == DType::bf16) {
      cuda::matmul_batched(a.data<bf16>(), b.data<bf16>(), y.data<bf16>(), plan);
      return y;
    }
  }
  with_wide("matmul", a.dtype(), [&]<class F>() {
    MOEGRAD_LAUNCH(a.device(), matmul_batched, a.data<F>(), b.data<F>(), y.data<F>(), plan);
  });
  return y;
}

// The gradient of an operand whose columns are contiguous is computed transposed, so that it has the same layout: the
// gradient of a transposed weight is then contiguous where the weight is.
struct MatmulGradient {
  bool a_by_columns, b_by_columns;
  Grads operator()(const GradArgs& g) const {
    Grads grads{Tensor{}, Tensor{}};
    if (g.needs(0)) {
      const Tensor b = g.in(1);
      grads[0] = a_by_columns ? transpose(matmul(b, transpose(g.dy))) : matmul(g.dy, transpose(b));
    }
    if (g.needs(1)) {
      const Tensor a = g.in(0);
      grads[1] = b_by_columns ? transpose(matmul(transpose(g.dy), a)) : matmul(transpose(a), g.dy);
    }
    return grads;
  }
};

}  // namespace

Tensor matmul(const Tensor& a_any, const Tensor& b_any) {
  check(a_any, b_any);
  if (a_any.rank() == 1) return squeeze(matmul(unsqueeze(a_any, 0), b_any), b_any.rank() == 1 ? 0 : -2);
  if (b_any.rank() == 1) return squeeze(matmul(a_any, unsqueeze(b_any, 1)), -1);
  const Shape batch = batch_of_both(a_any, b_any);
  if (b_any.rank() == 2 && a_any.rank() > 2) {  // one large product instead of a batch of small ones
    Shape shape = a_any.shape();
    shape.back() = b_any.dim(1);
    return reshape(matmul(flatten(a_any, 0, -2), b_any), shape);
  }
  const Tensor a = layout_of(a_any).readable ? dense(a_any) : contiguous(a_any);
  const Tensor b = layout_of(b_any).readable ? dense(b_any) : contiguous(b_any);
  return record("matmul", product(a, b, batch), {a, b}, saves_crossed(a, b),
                MatmulGradient{columns_contiguous(a), columns_contiguous(b)});
}

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& b) {
  for (const Tensor* p : {&w, &b}) {
    if (!*p) continue;
    check_same_device("linear", x, *p);
    check_same_dtype("linear", x, *p);
  }
  if (!is_float(x.dtype())) throw_dtype("linear", kFloats, x.dtype());
  if (w.rank() != 2) throw ShapeError(fmt::format("linear: w must be [out, in]; got w {}", to_string(w.shape())));
  if (x.rank() == 0 || x.dim(-1) != w.dim(1))
    throw ShapeError(fmt::format("linear: the last axis of x must be as long as that of w; got x {} and w {}",
                                 to_string(x.shape()), to_string(w.shape())));
  if (b && b.shape() != Shape{w.dim(0)})
    throw ShapeError(
        fmt::format("linear: b must be [out]; got b {} for w {}", to_string(b.shape()), to_string(w.shape())));
  const Tensor y = matmul(x, transpose(w));
  return b ? y + b : y;
}

template <class F> void cpu::matmul_batched(const F* a, const F* b, F* y, const BatchedMatmul& p) {
  const auto one = [&](i64 i, i64 offset_a, i64 offset_b) {
    gemm<F>({a + offset_a, p.a_stride, p.a_transposed}, {b + offset_b, p.b_stride, p.b_transposed}, y + i * p.m * p.n,
            p.n, p.m, p.n, p.k);
  };
  const i64 count = p.batch.elements();
  // Small products: a thread takes several whole ones. Large ones: BLAS shares each among the threads.
  constexpr i64 kFlopsPerThread = 1 << 20;
  const i64 flops = std::max<i64>(2 * p.m * p.n * p.k, 1);
  const bool small = flops < 8 * kFlopsPerThread;
  const i64 last = p.batch.rank - 1;
  parallel_for(count, small ? std::max<i64>(kFlopsPerThread / flops, 1) : count, [&](i64 begin, i64 end) {
    i64 i = begin;
    walk(p.batch, begin, end, [&](const i64* offset, i64 n) {
      for (i64 j = 0; j < n; ++j, ++i)
        one(i, offset[0] + j * p.batch.strides[0][last], offset[1] + j * p.batch.strides[1][last]);
    });
  });
}

}  // namespace moegrad
