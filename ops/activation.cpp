#include "ops/activation.h"

#include <fmt/format.h>

#include <limits>
#include <numbers>
#include <utility>

#include "core/autograd.h"
#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/compare.h"
#include "ops/loops.h"
#include "ops/unary.h"
#include "ops/where.h"

namespace moegrad {
namespace {

template <class Op> Tensor apply(const char* name, Op op, const Tensor& x) {
  const Tensor y = empty(x.shape(), x.dtype(), x.device());
  with_float(name, x.dtype(), [&]<class F>() {
    MOEGRAD_LAUNCH(x.device(), map1, op, x.data<F>(), y.data<F>(), nest_over<2>(y.shape(), {&x, &y}));
  });
  return y;
}

// op(a, b); shapes are alike.
template <class Op> Tensor apply(const char* name, Op op, const Tensor& a, const Tensor& b) {
  const Tensor y = empty(a.shape(), a.dtype(), a.device());
  with_float(name, a.dtype(), [&]<class F>() {
    MOEGRAD_LAUNCH(a.device(), map2, op, a.data<F>(), b.data<F>(), y.data<F>(), nest_over<3>(y.shape(), {&a, &b, &y}));
  });
  return y;
}

void check_float(const char* name, const Tensor& x) {
  if (!is_float(x.dtype())) throw_dtype(name, kFloats, x.dtype());
}

// One pass forward, one pass backward; `twin` is the same function in public ops.
template <class Op, class Twin, class Attributes = detail::NoAttributes>
Tensor activate(const char* name, Op op, const Tensor& x, Twin twin, Attributes attributes = {}) {
  check_float(name, x);
  return fused(
      name, apply(name, op, x), {x}, saves(kNone),
      [name, op](const GradArgs& g) -> Grads { return {apply(name, formula::SlopeTimes<Op>{op}, g.in(0), g.dy)}; },
      [twin](std::span<const Tensor> in) { return twin(in[0]); }, std::move(attributes));
}

// log(1 + e^x) however large x is
Tensor exact_softplus(const Tensor& x) { return softplus(x, 1, std::numeric_limits<double>::infinity()); }

}  // namespace

// relu has no second derivative, so its gradient needs the sign of y alone.
Tensor relu(const Tensor& x) {
  check_float("relu", x);
  return record("relu", apply("relu", formula::Relu{}, x), {x}, saves(kY), [](const GradArgs& g) -> Grads {
    const Tensor y = g.y();
    if (recording()) return {g.dy * logical_not(le(y, scalar_like(0, y)))};
    return {apply("relu", formula::SlopeTimes<formula::Relu>{}, y, g.dy)};
  });
}

Tensor gelu(const Tensor& x) {
  return activate("gelu", formula::Gelu{}, x, [](const Tensor& t) { return t * normal_cdf(t); });
}

Tensor gelu_tanh(const Tensor& x) {
  return activate("gelu_tanh", formula::GeluTanh{}, x, [](const Tensor& t) {
    constexpr double scale = 2 * std::numbers::sqrt2 * std::numbers::inv_sqrtpi;
    const Tensor c = clamp(t, -40, 40);  // as formula::GeluTanh
    return t * sigmoid((c + c * square(c) * 0.044715) * scale);
  });
}

Tensor silu(const Tensor& x) {
  return activate("silu", formula::Silu{}, x, [](const Tensor& t) { return t * sigmoid(t); });
}

Tensor softplus(const Tensor& x, double beta, double threshold) {
  check_float("softplus", x);
  if (!(beta > 0)) throw Error(fmt::format("softplus: beta must be > 0; got beta = {}", beta));
  const formula::Softplus op{beta, threshold};
  return record(
      "softplus", apply("softplus", op, x), {x}, saves(kX0),
      [op](const GradArgs& g) -> Grads {
        const Tensor t = g.in(0);
        if (!recording()) return {apply("softplus", formula::SlopeTimes<formula::Softplus>{op}, t, g.dy)};
        const Tensor scaled = t * op.beta, linear = gt(scaled, scalar_like(op.threshold, t));
        return {g.dy * (sigmoid(scaled) * logical_not(linear) + cast(linear, t.dtype()))};
      },
      [op] { return fmt::format("beta = {}, threshold = {}", op.beta, op.threshold); });
}

Tensor log_sigmoid(const Tensor& x) {
  return activate("log_sigmoid", formula::LogSigmoid{}, x, [](const Tensor& t) { return neg(exact_softplus(neg(t))); });
}

Tensor softsign(const Tensor& x) {
  return activate("softsign", formula::Softsign{}, x, [](const Tensor& t) { return t / (abs(t) + 1.0); });
}

Tensor mish(const Tensor& x) {
  return activate("mish", formula::Mish{}, x, [](const Tensor& t) { return t * tanh(exact_softplus(t)); });
}

Tensor elu(const Tensor& x, double alpha) {
  return activate(
      "elu", formula::Elu{alpha}, x,
      [alpha](const Tensor& t) {
        const Tensor above = gt(t, scalar_like(0, t));
        return where(above, t, expm1(masked_fill(t, above, 0)) * alpha);
      },
      [alpha] { return fmt::format("alpha = {}", alpha); });
}

Tensor leaky_relu(const Tensor& x, double slope) {
  return activate(
      "leaky_relu", formula::LeakyRelu{slope}, x,
      [slope](const Tensor& t) { return where(gt(t, scalar_like(0, t)), t, t * slope); },
      [slope] { return fmt::format("slope = {}", slope); });
}

// ---- gated pairs

namespace {

template <class Op> Grads gated_gradients(const char* name, Op op, const GradArgs& g) {
  const Tensor gate = g.in(0), up = g.in(1);
  const Tensor dgate = empty(gate.shape(), gate.dtype(), gate.device()), dup = empty_like(dgate);
  with_float(name, gate.dtype(), [&]<class F>() {
    MOEGRAD_LAUNCH(gate.device(), gated_gradient, op, gate.data<F>(), up.data<F>(), g.dy.data<F>(), dgate.data<F>(),
                   dup.data<F>(), nest_over<5>(gate.shape(), {&gate, &up, &g.dy, &dgate, &dup}));
  });
  return {dgate, dup};
}

template <class Op>
Tensor gated(const char* name, Op op, const Tensor& gate, const Tensor& up, Tensor (*activation)(const Tensor&)) {
  check_same_device(name, gate, up);
  check_same_dtype(name, gate, up);
  check_float(name, gate);
  if (gate.shape() != up.shape())
    throw ShapeError(fmt::format("{}: gate and up must have one shape; got gate {} and up {}", name,
                                 to_string(gate.shape()), to_string(up.shape())));
  return fused(
      name, apply(name, formula::Gated<Op>{op}, gate, up), {gate, up}, saves(kNone),
      [name, op](const GradArgs& g) { return gated_gradients(name, op, g); },
      [activation](std::span<const Tensor> in) { return activation(in[0]) * in[1]; });
}

}  // namespace

Tensor swiglu(const Tensor& gate, const Tensor& up) { return gated("swiglu", formula::Silu{}, gate, up, silu); }
Tensor geglu(const Tensor& gate, const Tensor& up) { return gated("geglu", formula::Gelu{}, gate, up, gelu); }

// ---- CPU kernel

template <class Op, class F>
void cpu::gated_gradient(Op op, const F* gate, const F* up, const F* dy, F* dgate, F* dup, const Nest<5>& nest) {
  const int last = nest.rank - 1;
  i64 step[5];
  bool unit = true;
  for (int k = 0; k < 5; ++k) {
    step[k] = nest.strides[k][last];
    unit = unit && step[k] == 1;
  }
  parallel_for(nest.elements(), kMapGrain / 2, [&](i64 begin, i64 end) {
    walk(nest, begin, end, [&](const i64* offset, i64 n) {
      const auto* __restrict g = raw(gate + offset[0]), * __restrict u = raw(up + offset[1]), * __restrict d = raw(dy + offset[2]);
      auto* __restrict to_gate = raw(dgate + offset[3]), * __restrict to_up = raw(dup + offset[4]);
      if (unit) {
#pragma omp simd
        for (i64 i = 0; i < n; ++i) {
          const Computed<F> x = value<F>(g[i]), dy_i = value<F>(d[i]);
          to_gate[i] = stored<F>(dy_i * value<F>(u[i]) * op.slope(x));
          to_up[i] = stored<F>(dy_i * op(x));
        }
      } else {
        for (i64 i = 0; i < n; ++i) {
          const Computed<F> x = value<F>(g[i * step[0]]), dy_i = value<F>(d[i * step[2]]);
          to_gate[i * step[3]] = stored<F>(dy_i * value<F>(u[i * step[1]]) * op.slope(x));
          to_up[i * step[4]] = stored<F>(dy_i * op(x));
        }
      }
    });
  });
}

}  // namespace moegrad
