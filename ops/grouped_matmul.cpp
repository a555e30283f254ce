#include "ops/grouped_matmul.h"

#include <fmt/format.h>

#include <memory>
#include <vector>

#include "core/autograd.h"
#include "core/blas.h"
#include "core/cuda.h"
#include "core/parallel.h"
#include "ops/cast.h"
#include "ops/views.h"

namespace moegrad {
namespace {

// begin, and its values where the host may know them: not in a capture, because the graph is replayed with others.
struct Borders {
  Tensor begin;
  std::shared_ptr<const std::vector<i64>> read;  // null on a CPU and in a capture

  const i64* known() const {
    if constexpr (kWithCuda)
      if (read && !cuda::capturing()) return read->data();
    return nullptr;
  }
};

void check_values(const char* op, const i64* b, i64 groups, i64 rows) {
  bool ascends = b[0] == 0 && b[groups] <= rows;
  for (i64 e = 0; e < groups; ++e) ascends &= b[e] <= b[e + 1];
  if (!ascends)
    throw IndexError(fmt::format("{}: begin must ascend from 0 to at most {}; got {} .. {} for {} groups", op, rows,
                                 b[0], b[groups], groups));
}

Borders checked_begin(const char* op, const Tensor& begin_any, i64 groups, const Tensor& x) {
  check_same_device(op, x, begin_any);
  if (begin_any.dtype() != DType::i64) throw_dtype(op, "i64 (begin)", begin_any.dtype());
  if (begin_any.rank() != 1 || begin_any.size() != groups + 1)
    throw ShapeError(
        fmt::format("{}: begin must be [E + 1]; got begin {} for E = {}", op, to_string(begin_any.shape()), groups));
  Borders borders{contiguous(begin_any), nullptr};
  const i64* b = borders.begin.data<i64>();
  if constexpr (kWithCuda) {
    if (x.device() == Device::cuda) {
      if (cuda::capturing()) return borders;
      std::vector<i64> values(static_cast<std::size_t>(groups + 1));
      cuda::copy_to_host(values.data(), b, begin_any.size() * byte_size(DType::i64));
      check_values(op, values.data(), groups, x.dim(0));
      borders.read = std::make_shared<const std::vector<i64>>(std::move(values));
      return borders;
    }
  }
  check_values(op, b, groups, x.dim(0));
  return borders;
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

// On a CPU bf16 has been widened before.
template <class F>
void launch_matmul(Device device, const F* x, const F* w, const i64* begin, F* y, const GroupedSizes& sizes) {
  if constexpr (!std::is_same_v<F, bf16>)
    MOEGRAD_LAUNCH(device, grouped_matmul, x, w, begin, y, sizes);
  else if constexpr (kWithCuda)
    cuda::grouped_matmul(x, w, begin, y, sizes);
}
template <class F>
void launch_outer(Device device, const F* x, const F* z, const i64* begin, F* y, const GroupedSizes& sizes) {
  if constexpr (!std::is_same_v<F, bf16>)
    MOEGRAD_LAUNCH(device, grouped_outer, x, z, begin, y, sizes);
  else if constexpr (kWithCuda)
    cuda::grouped_outer(x, z, begin, y, sizes);
}
bool must_widen(const Tensor& x) { return x.dtype() == DType::bf16 && x.device() == Device::cpu; }

// y without its graph. Of bf16 the operands are kept for the gradient as they are: only the product is f32.
Tensor product(const Tensor& x, const Tensor& w, const Borders& borders) {
  no_grad guard;
  if (must_widen(x)) return narrow(product(widen(x), widen(w), borders));
  Tensor y = empty({x.dim(0), w.dim(2)}, x.dtype(), x.device());
  const GroupedSizes sizes{.groups = w.dim(0),
                           .rows = x.dim(0),
                           .inner = w.dim(1),
                           .outer = w.dim(2),
                           .w_transposed = !w.is_contiguous(),
                           .borders = borders.known()};
  with_float("grouped_matmul", x.dtype(), [&]<class F>() {
    launch_matmul(x.device(), x.data<F>(), w.data<F>(), borders.begin.data<i64>(), y.data<F>(), sizes);
  });
  return y;
}
Tensor outer_product(const Tensor& x, const Tensor& z, const Borders& borders) {
  no_grad guard;
  if (must_widen(x)) return narrow(outer_product(widen(x), widen(z), borders));
  const GroupedSizes sizes{.groups = borders.begin.size() - 1,
                           .rows = x.dim(0),
                           .inner = x.dim(1),
                           .outer = z.dim(1),
                           .borders = borders.known()};
  Tensor y = empty({sizes.groups, sizes.inner, sizes.outer}, x.dtype(), x.device());
  with_float("grouped_outer", x.dtype(), [&]<class F>() {
    launch_outer(x.device(), x.data<F>(), z.data<F>(), borders.begin.data<i64>(), y.data<F>(), sizes);
  });
  return y;
}

Tensor outer(const Tensor& x_any, const Tensor& z_any, const Borders& borders);

Tensor multiply(const Tensor& x_any, const Tensor& w_any, const Borders& borders) {
  const Tensor x = contiguous(x_any), w = by_columns(w_any) ? w_any : contiguous(w_any);
  return record("grouped_matmul", product(x, w, borders), {x, w}, saves_crossed(x, w),
                [borders, transposed = !w.is_contiguous()](const GradArgs& g) -> Grads {
                  Tensor dx, dw;
                  if (g.needs(0)) dx = multiply(g.dy, swap_axes(g.in(1), 1, 2), borders);
                  // in w's own layout, so that the gradient of a transposed weight is contiguous where the weight is
                  if (g.needs(1))
                    dw = transposed ? swap_axes(outer(g.dy, g.in(0), borders), 1, 2) : outer(g.in(0), g.dy, borders);
                  return {dx, dw};
                });
}

Tensor outer(const Tensor& x_any, const Tensor& z_any, const Borders& borders) {
  const Tensor x = contiguous(x_any), z = contiguous(z_any);
  return record("grouped_outer", outer_product(x, z, borders), {x, z}, saves_crossed(x, z),
                [borders](const GradArgs& g) -> Grads {
                  return {g.needs(0) ? multiply(g.in(1), swap_axes(g.dy, 1, 2), borders) : Tensor{},
                          g.needs(1) ? multiply(g.in(0), g.dy, borders) : Tensor{}};
                });
}

}  // namespace

Tensor grouped_matmul(const Tensor& x, const Tensor& w, const Tensor& begin) {
  check_matrices("grouped_matmul", x, w, x.rank() == 2 && w.rank() == 3 && x.dim(1) == w.dim(1));
  return multiply(x, w, checked_begin("grouped_matmul", begin, w.dim(0), x));
}

Tensor grouped_outer(const Tensor& x, const Tensor& z, const Tensor& begin) {
  check_matrices("grouped_outer", x, z, x.rank() == 2 && z.rank() == 2 && x.dim(0) == z.dim(0));
  return outer(x, z, checked_begin("grouped_outer", begin, std::max<i64>(begin.size(), 1) - 1, x));
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
