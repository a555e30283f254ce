#include "ops/norm.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "core/autograd.h"
#include "core/math.h"
#include "core/parallel.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/reduce.h"
#include "ops/unary.h"
#include "ops/views.h"

namespace moegrad {
namespace {

void check_parameter(const char* op, const char* name, const Tensor& x, const Tensor& p) {
  if (!p) return;
  check_same_device(op, x, p);
  check_same_dtype(op, x, p);
  if (p.shape() != Shape{x.dim(-1)})
    throw ShapeError(fmt::format("{}: {} must have the size of the last axis of x; got {} {} and x {}", op, name, name,
                                 to_string(p.shape()), to_string(x.shape())));
}

void check(const char* op, const Tensor& x, const Tensor& w, const Tensor& b, double eps) {
  if (!is_float(x.dtype())) throw_dtype(op, kFloats, x.dtype());
  if (x.rank() == 0 || x.dim(-1) == 0)
    throw ShapeError(fmt::format("{}: x must have a last axis that is not empty; got x {}", op, to_string(x.shape())));
  check_parameter(op, "w", x, w);
  check_parameter(op, "b", x, b);
  if (!(eps >= 0)) throw Error(fmt::format("{}: eps must be >= 0; got eps = {}", op, eps));
}

template <class F> F* data_or_null(const Tensor& x) { return x ? x.data<F>() : nullptr; }
Tensor contiguous_or_none(const Tensor& x) { return x ? contiguous(x) : x; }

// The same function in public ops.
Tensor twin(const Tensor& x, const Tensor& w, const Tensor& b, double eps, bool centred) {
  const Tensor c = centred ? x - mean(x, -1, keep_dims) : x;
  Tensor y = c * rsqrt(mean(square(c), -1, keep_dims) + eps);
  if (w) y = y * w;
  return b ? y + b : y;
}

Grads gradients(const char* op, const GradArgs& g, const NormRows& plan) {
  const Tensor x = g.in(0), w = g.in(1), dy = contiguous(g.dy);
  const auto wanted = [&](int i) { return g.needs(i) ? empty(g.shape(i), x.dtype(), x.device()) : Tensor{}; };
  const Tensor dx = wanted(0), dw = wanted(1), db = wanted(2);
  with_wide(op, x.dtype(), [&]<class F>() {
    const NormGradients<F> to{data_or_null<F>(dx), data_or_null<F>(dw), data_or_null<F>(db)};
    MOEGRAD_LAUNCH(x.device(), norm_gradient, x.data<F>(), data_or_null<F>(w), g.extra(0).data<F>(),
                   g.extra(1).data<F>(), dy.data<F>(), to, plan);
  });
  return {dx, dw, db};
}

Tensor normalise(const char* op, const Tensor& x_any, const Tensor& w_any, const Tensor& b_any, double eps,
                 bool centred) {
  check(op, x_any, w_any, b_any, eps);
  if (x_any.dtype() == DType::bf16)
    return narrow(normalise(op, widen(x_any), widen(w_any), widen(b_any), eps, centred));
  const Tensor x = contiguous(x_any), w = contiguous_or_none(w_any), b = contiguous_or_none(b_any);
  const NormRows plan{x.size() / x.dim(-1), x.dim(-1), eps, centred};
  const Tensor y = empty_like(x);
  const Tensor mean_of = empty({plan.rows}, x.dtype(), x.device()), rstd = empty_like(mean_of);
  with_wide(op, x.dtype(), [&]<class F>() {
    MOEGRAD_LAUNCH(x.device(), norm_rows, x.data<F>(), data_or_null<F>(w), data_or_null<F>(b), y.data<F>(),
                   mean_of.data<F>(), rstd.data<F>(), plan);
  });
  return fused(
      op, y, {x, w, b}, saves(kNone, {mean_of, rstd}), [op, plan](const GradArgs& g) { return gradients(op, g, plan); },
      [plan](std::span<const Tensor> in) { return twin(in[0], in[1], in[2], plan.eps, plan.centred); },
      [eps] { return fmt::format("eps = {}", eps); });
}

}  // namespace

Tensor layer_norm(const Tensor& x, const Tensor& w, const Tensor& b, double eps) {
  return normalise("layer_norm", x, w, b, eps, true);
}
Tensor layer_norm(const Tensor& x, const Shape& sizes, const Tensor& w, const Tensor& b, double eps) {
  const int first = x.rank() - sizes.rank();
  if (first < 0 || sizes.empty() || Shape(x.shape().begin() + first, x.shape().end()) != sizes)
    throw ShapeError(fmt::format("layer_norm: x must end in the sizes to normalise over; got sizes {} and x {}",
                                 to_string(sizes), to_string(x.shape())));
  for (const auto& [name, p] : {std::pair{"w", w}, {"b", b}})
    if (p && p.shape() != sizes)
      throw ShapeError(fmt::format("layer_norm: {} must have the sizes to normalise over; got {} {} and sizes {}", name,
                                   name, to_string(p.shape()), to_string(sizes)));
  const auto flat = [](const Tensor& p) { return p ? flatten(p) : p; };
  return reshape(layer_norm(flatten(x, first, -1), flat(w), flat(b), eps), x.shape());
}
Tensor rms_norm(const Tensor& x, const Tensor& w, double eps) { return normalise("rms_norm", x, w, {}, eps, false); }

// ---- CPU kernels

namespace {

constexpr i64 kGrain = 1 << 14;  // elements per thread: about 10 us

template <class F> F mean_of_row(const F* x, i64 n) {
  F sum = 0;
#pragma omp simd reduction(+ : sum)
  for (i64 i = 0; i < n; ++i) sum += x[i];
  return sum / static_cast<F>(n);
}
// Two passes, because E[x^2] - E[x]^2 cancels where the mean is large.
template <class F> F mean_square(const F* x, i64 n, F mean) {
  F sum = 0;
#pragma omp simd reduction(+ : sum)
  for (i64 i = 0; i < n; ++i) sum += (x[i] - mean) * (x[i] - mean);
  return sum / static_cast<F>(n);
}

template <class F>
void normalise_row(const F* __restrict x, const F* __restrict w, const F* __restrict b, F* __restrict y, i64 n, F mean,
                   F rstd) {
  if (w && b) {
    for (i64 i = 0; i < n; ++i) y[i] = (x[i] - mean) * rstd * w[i] + b[i];
  } else if (w) {
    for (i64 i = 0; i < n; ++i) y[i] = (x[i] - mean) * rstd * w[i];
  } else {
    for (i64 i = 0; i < n; ++i) y[i] = (x[i] - mean) * rstd + (b ? b[i] : F(0));
  }
}

// dx = rstd (g - mean(g) - z mean(g z)) with z = (x - mean) rstd and g = dy w
template <class F>
void gradient_row(const F* __restrict x, const F* __restrict w, const F* __restrict dy, F* __restrict dx, i64 n, F mean,
                  F rstd, bool centred) {
  F sum = 0, sum_z = 0;
#pragma omp simd reduction(+ : sum, sum_z)
  for (i64 i = 0; i < n; ++i) {
    const F g = dy[i] * w[i];
    sum += g;
    sum_z += g * (x[i] - mean);
  }
  const F mean_g = centred ? sum / static_cast<F>(n) : F(0), slope = sum_z * rstd * rstd / static_cast<F>(n);
#pragma omp simd
  for (i64 i = 0; i < n; ++i) dx[i] = rstd * (dy[i] * w[i] - mean_g - (x[i] - mean) * slope);
}

// dw += dy z, db += dy; either may be null
template <class F>
void add_row(const F* __restrict x, const F* __restrict dy, F* __restrict dw, F* __restrict db, i64 n, F mean, F rstd) {
  if (dw)
    for (i64 i = 0; i < n; ++i) dw[i] += dy[i] * ((x[i] - mean) * rstd);
  if (db)
    for (i64 i = 0; i < n; ++i) db[i] += dy[i];
}

// Adds up rows [count, n] along a fixed tree, in place, and copies the total.
template <class F> void combine_rows(std::vector<F>& rows, i64 count, i64 n, F* total) {
  tree_combine(count, [&](i64 to, i64 from) {
    F* a = rows.data() + to * n;
    const F* b = rows.data() + from * n;
    for (i64 i = 0; i < n; ++i) a[i] += b[i];
  });
  std::copy_n(rows.data(), n, total);
}

}  // namespace

template <class F>
void cpu::norm_rows(const F* x, const F* w, const F* b, F* y, F* mean, F* rstd, const NormRows& plan) {
  const i64 n = plan.n;
  parallel_for(plan.rows, kGrain / n + 1, [&](i64 begin, i64 end) {
    for (i64 r = begin; r < end; ++r) {
      mean[r] = plan.centred ? mean_of_row(x + r * n, n) : F(0);
      rstd[r] = math::rsqrt(mean_square(x + r * n, n, mean[r]) + static_cast<F>(plan.eps));
      normalise_row(x + r * n, w, b, y + r * n, n, mean[r], rstd[r]);
    }
  });
}

// Rows are cut into chunks whose borders depend on sizes only. Each chunk adds up its own dw and db.
template <class F>
void cpu::norm_gradient(const F* x, const F* w, const F* mean, const F* rstd, const F* dy, const NormGradients<F>& to,
                        const NormRows& plan) {
  const i64 n = plan.n;
  const Chunks chunks = reduction_chunks(plan.rows, kGrain / n + 1);
  const auto room = [&](bool wanted) {
    return std::vector<F>(wanted ? static_cast<std::size_t>(chunks.count * n) : 0);
  };
  std::vector<F> dw = room(to.dw), db = room(to.db);
  const std::vector<F> ones(w ? 0 : static_cast<std::size_t>(n), F(1));
  const F* scale = w ? w : ones.data();  // without a branch the loops vectorise
  parallel_for(chunks.count, 1, [&](i64 first, i64 last) {
    for (i64 c = first; c < last; ++c)
      for (i64 r = chunks.begin(c); r < chunks.end(c); ++r) {
        const F *x_row = x + r * n, *dy_row = dy + r * n;
        if (to.dx) gradient_row(x_row, scale, dy_row, to.dx + r * n, n, mean[r], rstd[r], plan.centred);
        add_row(x_row, dy_row, to.dw ? dw.data() + c * n : nullptr, to.db ? db.data() + c * n : nullptr, n, mean[r],
                rstd[r]);
      }
  });
  if (to.dw) combine_rows(dw, chunks.count, n, to.dw);
  if (to.db) combine_rows(db, chunks.count, n, to.db);
}

}  // namespace moegrad
