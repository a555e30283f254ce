#include "ops/update.h"

#include <fmt/format.h>

#include <vector>

#include "core/autograd.h"
#include "core/parallel.h"
#include "ops/cast.h"

namespace moegrad {
namespace {

// x has the dtype and the shape of w, as `what` beside `of`.
void check_alike(const char* op, const char* of, const Tensor& w, const char* what, const Tensor& x, DType dtype) {
  check_same_device(op, w, x);
  if (x.dtype() != dtype)
    throw DTypeError(fmt::format("{}: {} must be {}; got {} {} and {} {}", op, what, name(dtype), of, describe(w), what,
                                 describe(x)));
  if (x.shape() != w.shape())
    throw ShapeError(fmt::format("{}: shapes must match; got {} {} and {} {}", op, of, to_string(w.shape()), what,
                                 to_string(x.shape())));
}

void check_operands(const char* op, const Tensor& w, const Tensor& dw, std::span<const Tensor> states) {
  if (!is_float(w.dtype())) throw_dtype(op, kFloats, w.dtype());
  check_alike(op, "w", w, "dw", dw, w.dtype());
  bool contiguous = w.is_contiguous();
  for (const Tensor& s : states) {
    if (!s) continue;
    check_alike(op, "w", w, "a state", s, state_dtype(w.dtype()));
    contiguous = contiguous && s.is_contiguous();
  }
  if (!contiguous) throw Error(fmt::format("{}: w and its states must be contiguous; got w {}", op, describe(w)));
}

// "{0, 2}": which states are there.
std::string numbers(unsigned uses) {
  std::string text;
  for (unsigned i = 0; i < 32; ++i)
    if (uses >> i & 1) text += fmt::format("{}{}", text.empty() ? "" : ", ", i);
  return "{" + text + "}";
}

// What a rule is called in error texts, and the states that its settings have: bit i says that state i must be there,
// and the others must not.
struct Facts {
  const char* op;
  unsigned uses;
};
Facts facts(const SgdRule& r) { return {"sgd_update", r.momentum != 0 ? 1u : 0u}; }
Facts facts(const AdamRule& r) { return {"adam_update", r.amsgrad ? 7u : 3u}; }
Facts facts(const RmspropRule& r) {
  return {"rmsprop_update", 1u | (r.centered ? 2u : 0u) | (r.momentum != 0 ? 4u : 0u)};
}
Facts facts(const AdagradRule&) { return {"adagrad_update", 1}; }
Facts facts(const LionRule&) { return {"lion_update", 1}; }

void check_one(const Facts& rule, const Updated& x, const UpdateStep& at) {
  const char* op = rule.op;
  if (x.states.size() > 3) throw Error(fmt::format("{}: there are at most 3 states; got {}", op, x.states.size()));
  check_operands(op, x.w, x.dw, x.states);
  const Device device = x.w.device();
  check_update_scalar(op, "lr", at.lr, DType::f64, device);
  check_update_scalar(op, "step", x.step, DType::i64, device);
  if (at.scale) check_update_scalar(op, "scale", at.scale, DType::f64, device);
  unsigned given = 0;
  for (std::size_t i = 0; i < x.states.size(); ++i)
    if (x.states[i]) given |= 1u << i;
  if (given != rule.uses)
    throw Error(fmt::format("{}: these settings have the states {}; got {}", op, numbers(rule.uses), numbers(given)));
}

template <class F> UpdateArrays<F> arrays(const Updated& x, const Tensor& dw, bool count) {
  UpdateArrays<F> a{writable<F>(x.w), dw.data<F>(), {}, x.w.size(), count ? writable<i64>(x.step) : x.step.data<i64>()};
  for (std::size_t i = 0; i < x.states.size(); ++i)
    a.states[i] = x.states[i] ? writable<Computed<F>>(x.states[i]) : nullptr;
  return a;
}

// All of the list that have the type F.
template <class F, class Rule>
void launch_update(std::span<const Updated> list, const Rule& rule, const UpdateClock& clock, Device device) {
  std::vector<Tensor> gradients;  // what is not contiguous lives here
  std::vector<UpdateArrays<F>> all;
  for (const Updated& x : list)
    if (x.w.dtype() == dtype_of<F>) all.push_back(arrays<F>(x, gradients.emplace_back(contiguous(x.dw)), clock.count));
  if (all.empty()) return;
  MOEGRAD_LAUNCH(device, update, std::span<const UpdateArrays<F>>(all), clock, rule);
}

template <class Rule> void update(std::span<const Updated> list, const Rule& rule, const UpdateStep& at, bool count) {
  const Facts about = facts(rule);
  for (const Updated& x : list) check_one(about, x, at);
  no_grad guard;
  const UpdateClock clock{at.lr.data<double>(), at.scale ? at.scale.data<double>() : nullptr, at.lr_scale, count,
                          about.uses};
  const Device device = at.lr.device();
  launch_update<float>(list, rule, clock, device);
  launch_update<double>(list, rule, clock, device);
  launch_update<bf16>(list, rule, clock, device);
}

template <class Rule>
void update(const Tensor& w, const Tensor& dw, std::span<const Tensor> states, const Rule& rule, const UpdateStep& at) {
  const Updated one{w, dw, states, at.step};
  update({&one, 1}, rule, at, false);
}

}  // namespace

void check_update_scalar(const char* op, const char* what, const Tensor& x, DType dtype, Device device) {
  const auto text = [&] {
    return fmt::format("{}: {} must be {} [] on {}, where w lies; got {} on {}", op, what, name(dtype), name(device),
                       describe(x), name(x.device()));
  };
  if (x.dtype() != dtype) throw DTypeError(text());
  if (x.rank() != 0) throw ShapeError(text());
  if (x.device() != device) throw DeviceError(text());
}

void sgd_update(const Tensor& w, const Tensor& dw, std::span<const Tensor> states, const SgdRule& rule,
                const UpdateStep& at) {
  update(w, dw, states, rule, at);
}
void adam_update(const Tensor& w, const Tensor& dw, std::span<const Tensor> states, const AdamRule& rule,
                 const UpdateStep& at) {
  update(w, dw, states, rule, at);
}
void rmsprop_update(const Tensor& w, const Tensor& dw, std::span<const Tensor> states, const RmspropRule& rule,
                    const UpdateStep& at) {
  update(w, dw, states, rule, at);
}
void adagrad_update(const Tensor& w, const Tensor& dw, std::span<const Tensor> states, const AdagradRule& rule,
                    const UpdateStep& at) {
  update(w, dw, states, rule, at);
}
void lion_update(const Tensor& w, const Tensor& dw, std::span<const Tensor> states, const LionRule& rule,
                 const UpdateStep& at) {
  update(w, dw, states, rule, at);
}

template <class Rule> void update_all(std::span<const Updated> list, const Rule& rule, const UpdateStep& at) {
  if (!list.empty()) update(list, rule, at, true);
}
template void update_all(std::span<const Updated>, const SgdRule&, const UpdateStep&);
template void update_all(std::span<const Updated>, const AdamRule&, const UpdateStep&);
template void update_all(std::span<const Updated>, const RmspropRule&, const UpdateStep&);
template void update_all(std::span<const Updated>, const AdagradRule&, const UpdateStep&);
template void update_all(std::span<const Updated>, const LionRule&, const UpdateStep&);

void average_update(const Tensor& y, const Tensor& x_any, double keep) {
  if (!is_float(y.dtype())) throw_dtype("average_update", kFloats, y.dtype());
  check_alike("average_update", "y", y, "x", x_any, y.dtype());
  if (!y.is_contiguous()) throw Error(fmt::format("average_update: y must be contiguous; got y {}", describe(y)));
  if (!(keep >= 0 && keep <= 1)) throw Error(fmt::format("average_update: keep must be in [0, 1]; got {}", keep));
  no_grad guard;
  const Tensor x = contiguous(x_any);
  with_float("average_update", y.dtype(), [&]<class F>() {
    MOEGRAD_LAUNCH(y.device(), average_update, writable<F>(y), x.data<F>(), y.size(), keep);
  });
}

void count_up(const Tensor& x) {
  if (x.rank() != 0) throw ShapeError(fmt::format("count_up: x must be a scalar; got x {}", to_string(x.shape())));
  MOEGRAD_LAUNCH(x.device(), count_up, writable<i64>(x));
}

// ---- CPU kernels

namespace {

constexpr i64 kGrain = 1 << 14;  // elements per thread

// Bit i of Uses: state i is there.
template <unsigned Uses, class F, class Step>
void update_elements(const UpdateArrays<F>& x, Computed<F> scale, const Step& step) {
  parallel_for(x.n, kGrain, [x, scale, step](i64 begin, i64 end) {
    using C = Computed<F>;
    const Step s = step;
    F* __restrict w = x.w;
    const F* __restrict dw = x.dw;
    C* __restrict first = x.states[0];
    C* __restrict second = x.states[1];
    C* __restrict third = x.states[2];
#pragma omp simd
    for (i64 i = begin; i < end; ++i) {
      C p = static_cast<C>(w[i]), a{}, b{}, c{};
      if constexpr (Uses & 1) a = first[i];
      if constexpr (Uses & 2) b = second[i];
      if constexpr (Uses & 4) c = third[i];
      s.template apply<Uses>(p, scale * static_cast<C>(dw[i]), a, b, c);
      w[i] = convert<F>(p);
      if constexpr (Uses & 1) first[i] = a;
      if constexpr (Uses & 2) second[i] = b;
      if constexpr (Uses & 4) third[i] = c;
    }
  });
}

}  // namespace

template <class F, class Rule>
void cpu::update(std::span<const UpdateArrays<F>> list, const UpdateClock& clock, const Rule& rule) {
  using C = Computed<F>;
  const C scale = clock.scale ? static_cast<C>(*clock.scale) : C(1);
  for (const UpdateArrays<F>& x : list) {
    if (clock.count) ++*x.step;
    const auto step = formula::at<C>(rule, *clock.lr * clock.lr_scale, *x.step);
    switch (clock.uses) {
      case 0: update_elements<0>(x, scale, step); break;
      case 1: update_elements<1>(x, scale, step); break;
      case 3: update_elements<3>(x, scale, step); break;
      case 5: update_elements<5>(x, scale, step); break;
      default: update_elements<7>(x, scale, step);
    }
  }
}

template <class F> void cpu::average_update(F* y, const F* x, i64 n, double keep) {
  using C = Computed<F>;
  const C old = static_cast<C>(keep), fresh = static_cast<C>(1 - keep);
  parallel_for(n, kGrain, [=](i64 begin, i64 end) {
#pragma omp simd
    for (i64 i = begin; i < end; ++i)
      y[i] = convert<F>(math::mul_add(old, static_cast<C>(y[i]), fresh * static_cast<C>(x[i])));
  });
}

void cpu::count_up(i64* x) { ++*x; }

}  // namespace moegrad
