#include "ops/autodiff/causality.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "ops/autodiff/causality_trace.h"
#include "ops/concat.h"
#include "ops/slice.h"

namespace moegrad {
namespace {

class Checker {
 public:
  Checker(const FunctionOfOne& fn, const Tensor& x, int axis, const CausalityOptions& options)
      : fn_(fn),
        axis_(check_axis("causality_check", x.shape(), axis)),
        options_(options),
        random_(options.seed),
        x_(dense(x).detach()),
        values_(x_.to_vector<double>()) {
    check_x();
    y_ = value(x_);
    if (y_.rank() <= axis_ || y_.shape()[axis_] != size())
      throw ShapeError(fmt::format("causality_check: y must have {} positions along axis {}, as x; got y {} and x {}",
                                   size(), axis_, to_string(y_.shape()), to_string(x_.shape())));
    CausalityReport again;
    if (differ(value(x_), y_, 0, again))
      throw Error("causality_check: fn must give the same for the same x; got two values (is there dropout?)");
    weights_ = random_like(y_.shape(), 1);
  }

  CausalityReport check() {
    CausalityReport report;
    for (const i64 cut : cuts())
      for (int draw = 0; draw < options_.draws && report.ok; ++draw) {
        const Tensor other = with_other_suffix(cut, std::pow(10.0, draw));
        compare_values(other, cut, report);
        if (report.ok && is_float(x_.dtype())) compare_gradients(other, cut, report);
        ++report.checked;
      }
    return report;
  }

 private:
  i64 size() const { return x_.shape()[axis_]; }
  double tolerance() const {
    if (y_.dtype() == DType::f64) return options_.tolerance;
    return options_.f32_tolerance * (y_.dtype() == DType::f32 ? 1 : 100);
  }
  Prefix prefix(i64 cut) const { return {size(), cut, tolerance()}; }
  Tensor head(const Tensor& t, i64 cut) const { return slice(t, axis_, {0, cut}); }

  void check_x() const {
    if (x_.dtype() == DType::boolean) throw_dtype("causality_check", "floating or integer", x_.dtype());
    if (size() < 2 || options_.most < 1 || options_.draws < 1)
      throw Error(
          fmt::format("causality_check: there must be two positions along axis {}, a cut and a draw at least; "
                      "got x {}, most = {}, draws = {}",
                      axis_, to_string(x_.shape()), options_.most, options_.draws));
    if (!std::all_of(values_.begin(), values_.end(), [](double v) { return std::isfinite(v); }))
      throw Error("causality_check: x must be finite; got a value that is not");
    const auto first = [&](double v) { return v == values_[0]; };
    if (is_int(x_.dtype()) && !values_.empty() && std::all_of(values_.begin(), values_.end(), first))
      throw Error(
          fmt::format("causality_check: x must hold two different integers at least; got {} alone", values_[0]));
  }

  std::vector<i64> cuts() const {
    std::vector<i64> y;
    const i64 n = size() - 1, count = std::min(n, options_.most);
    for (i64 i = 0; i < count; ++i) y.push_back(1 + i * n / count);
    return y;
  }

  Tensor random_like(const Shape& shape, double scale) {
    std::uniform_real_distribution<double> uniform(-scale, scale);
    std::vector<double> v(static_cast<std::size_t>(shape.elements()));
    for (double& d : v) d = uniform(random_);
    return from_vector(v, shape);
  }

  // Every integer replaced by another one of those that x holds.
  Tensor other_integers() {
    std::vector<double> other;
    std::uniform_int_distribution<std::size_t> any(0, values_.size() - 1);
    for (const double v : values_) {
      std::size_t at = any(random_);
      while (values_[at] == v) at = (at + 1) % values_.size();
      other.push_back(values_[at]);
    }
    return from_vector(other, x_.shape(), x_.dtype());
  }

  Tensor with_other_suffix(i64 cut, double scale) {
    double largest = 1;
    for (const double v : values_) largest = std::max(largest, std::abs(v));
    const Tensor other = is_int(x_.dtype()) ? other_integers()
                                            : from_vector(random_like(x_.shape(), scale * largest).to_vector<double>(),
                                                          x_.shape(), x_.dtype());
    return concat({head(x_, cut), slice(other, axis_, {cut, kEnd})}, axis_);
  }

  Tensor value(const Tensor& x) const {
    no_grad guard;
    return dense(fn_(x));
  }

  // The gradient of a random weighing of y before the cut.
  Tensor gradient(const Tensor& x, i64 cut) const {
    Recording on(true);
    const Tensor leaf = x.detach().requires_grad_(), y = dense(fn_(leaf));
    if (!y.requires_grad()) return zeros_like(x);
    const Tensor dy = zeros(y.shape(), DType::f64);
    slice(dy, axis_, {0, cut}).assign(head(weights_, cut));
    return grad(y, {leaf}, from_vector(dy.to_vector<double>(), y.shape(), y.dtype()))[0];
  }

  void compare_values(const Tensor& other, i64 cut, CausalityReport& report) {
    if (!differ(head(value(other), cut), head(y_, cut), 0, report)) return;
    report.cut = cut;
    Trace a, b;
    {
      Trace::Watch watch(a);
      value(x_);
    }
    {
      Trace::Watch watch(b);
      value(other);
    }
    name(a.first_change(b, prefix(cut)), report);
  }

  void compare_gradients(const Tensor& other, i64 cut, CausalityReport& report) {
    Trace a, b;
    Tensor here, there;
    {
      Trace::Watch watch(a);
      here = gradient(x_, cut);
    }
    {
      Trace::Watch watch(b);
      there = gradient(other, cut);
    }
    no_grad guard;
    const Tensor after = slice(here, axis_, {cut, kEnd});
    if (differ(after, zeros_like(after), cut, report))
      name(a.first_gradient_after(prefix(cut)), report);
    else if (differ(head(here, cut), head(there, cut), 0, report))
      name(a.first_gradient_change(b, prefix(cut)), report);
    if (report.ok) return;
    report.cut = cut;
    report.jacobian = true;
  }

  // Notes the first position along the axis at which two tensors differ; the first slice is position `first` of x.
  bool differ(const Tensor& a, const Tensor& b, i64 first, CausalityReport& report) const {
    for (i64 p = 0; p < a.shape()[axis_]; ++p) {
      const Range at{p, p + 1};
      report.change = change_before(slice(a, axis_, at), slice(b, axis_, at), {-1, 0, tolerance()});
      if (report.change == 0) continue;
      report.ok = false;
      report.position = first + p;
      return true;
    }
    return false;
  }

  static void name(const Trace::Found& found, CausalityReport& report) {
    report.op = found.op;
    report.layer = found.layer;
  }

  const FunctionOfOne& fn_;
  int axis_;
  const CausalityOptions& options_;
  std::mt19937_64 random_;
  Tensor x_;
  std::vector<double> values_;
  Tensor y_, weights_;
};

}  // namespace

std::string CausalityReport::text() const {
  if (ok) return fmt::format("causality: no position of y sees a later one of x ({} runs compared)", checked);
  const std::string what = !jacobian        ? fmt::format("its value at position {} moves", position)
                           : position < cut ? fmt::format("its gradient to x at position {} moves", position)
                                            : fmt::format("its gradient reaches x at position {}", position);
  return fmt::format("causality: y before position {} must not see x from there on; {} by {:.3g}; {}{}", cut, what,
                     change, op.empty() ? "no op shows where" : "the first op that leaks is " + op,
                     layer.empty() ? "" : fmt::format(", in layer '{}'", layer));
}

CausalityReport causality_check(const FunctionOfOne& fn, const Tensor& x, int axis, const CausalityOptions& options) {
  return Checker(fn, x, axis, options).check();
}

}  // namespace moegrad
