#include "ops/autodiff/gradcheck.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <random>

#include "core/autograd.h"
#include "core/choose.h"
#include "ops/arithmetic.h"
#include "ops/reduce.h"

namespace moegrad {
namespace {

Tensor draw(const Shape& shape, std::mt19937_64& random) {
  std::vector<double> v(static_cast<std::size_t>(shape.elements()));
  std::uniform_real_distribution<double> uniform(-1, 1);
  for (double& x : v) x = uniform(random);
  return from_vector(v, shape);
}

// A scalar function of the inputs' values, and the point at which it is checked.
class Checker {
 public:
  Checker(const std::vector<Tensor>& xs, const GradcheckOptions& options) : options_(options), random_(options.seed) {
    for (const Tensor& x : xs) {
      if (x.dtype() != DType::f64) throw_dtype("gradcheck", "f64", x.dtype());
      shapes_.push_back(x.shape());
      values_.push_back(x.to_vector<double>());
    }
  }

  std::vector<Tensor> leaves() const {
    std::vector<Tensor> xs;
    for (std::size_t i = 0; i < values_.size(); ++i) {
      xs.push_back(from_vector(values_[i], shapes_[i]));
      xs.back().requires_grad_();
    }
    return xs;
  }
  std::mt19937_64& random() { return random_; }

  // Compares the gradient of `scalar_of` with differences; keeps the worst element in `report`.
  void compare(const Function& scalar_of, int order, GradReport& report) {
    const std::vector<Tensor> xs = leaves();
    base_.clear();
    std::vector<Tensor> gradients;
    {
      TapeScope scope(base_, TapeMode::record);
      const Tensor y = scalar_of(xs);
      if (!y.requires_grad())
        return note({.ok = false, .order = order, .reason = "the output depends on no input"}, report);
      gradients = grad(y, xs);
    }
    for (std::size_t i = 0; i < xs.size(); ++i)
      compare_input(scalar_of, order, i, gradients[i].to_vector<double>(), report);
  }

 private:
  void compare_input(const Function& f, int order, std::size_t i, const std::vector<double>& analytic,
                     GradReport& report) {
    const i64 n = static_cast<i64>(analytic.size());
    std::uniform_int_distribution<i64> any(0, std::max<i64>(n - 1, 0));
    for (i64 k = 0; k < std::min(n, options_.most); ++k) {
      const i64 at = n <= options_.most ? k : any(random_);
      std::vector<double> direction(analytic.size(), 0);
      direction[static_cast<std::size_t>(at)] = 1;
      compare_direction(f, order, i, at, direction, analytic, report);
    }
    if (n > 0) compare_direction(f, order, i, -1, draw({n}, random_).to_vector<double>(), analytic, report);
  }

  void compare_direction(const Function& f, int order, std::size_t i, i64 element, const std::vector<double>& direction,
                         const std::vector<double>& analytic, GradReport& report) {
    GradReport r{.order = order, .input = static_cast<int>(i), .element = element};
    r.numeric =
        (at_step(f, i, direction, options_.eps, r) - at_step(f, i, direction, -options_.eps, r)) / (2 * options_.eps);
    double length = 1;
    for (std::size_t k = 0; k < analytic.size(); ++k)
      if (direction[k] != 0) r.analytic += analytic[k] * direction[k], length += std::abs(direction[k]);
    r.error = std::abs(r.numeric - r.analytic);
    r.allowed = (element < 0 ? length : 1) * options_.atol +
                options_.rtol * std::max(std::abs(r.numeric), std::abs(r.analytic));
    r.ok = r.reason.empty() && r.error <= r.allowed;  // false for NaN
    ++report.checked;
    note(r, report);
  }

  double at_step(const Function& f, std::size_t i, const std::vector<double>& direction, double step, GradReport& r) {
    const std::vector<double> before = values_[i];
    for (std::size_t k = 0; k < before.size(); ++k) values_[i][k] += step * direction[k];
    RouteTape tape = options_.freeze_routes ? base_ : RouteTape{};
    TapeScope scope(tape, options_.freeze_routes ? TapeMode::replay : TapeMode::record);
    const std::vector<Tensor> xs = leaves();
    values_[i] = before;
    const double y = f(xs).item();
    if (const std::string change = options_.freeze_routes ? std::string{} : base_.difference(tape); !change.empty())
      r.reason = fmt::format(
          "a step of {} changes a choice, so there is no derivative to compare ({}); use other inputs, a smaller eps "
          "or freeze_routes",
          step, change);
    return y;
  }

  // How far off, in units of what is allowed. NaN is infinitely bad, and so is a choice that changed.
  static double badness(const GradReport& r) {
    if (std::isnan(r.error) || !r.reason.empty()) return std::numeric_limits<double>::infinity();
    return r.allowed > 0 ? r.error / r.allowed : -1;
  }
  static void note(const GradReport& r, GradReport& worst) {
    const bool worse = badness(r) > badness(worst);
    // An element says more than a direction.
    const bool replace = worst.ok != r.ok ? worst.ok : worst.ok || r.element >= 0 || worst.element < 0 ? worse : false;
    if (!replace) return;
    const i64 checked = worst.checked;
    worst = r;
    worst.checked = checked;
  }

  const GradcheckOptions& options_;
  std::mt19937_64 random_;
  std::vector<Shape> shapes_;
  std::vector<std::vector<double>> values_;
  RouteTape base_;
};

}  // namespace

std::string GradReport::text() const {
  const std::string where = input < 0
                                ? fmt::format("gradient of order {}", order)
                                : fmt::format("gradient of order {}, input {}, {}", order, input,
                                              element < 0 ? "a random direction" : fmt::format("element {}", element));
  if (!reason.empty()) return where + ": " + reason;
  return fmt::format("{}: numeric {:.12g}, analytic {:.12g}, error {:.3g}, allowed {:.3g} ({} differences taken)",
                     where, numeric, analytic, error, allowed, checked);
}

GradReport gradcheck(const Function& fn, const std::vector<Tensor>& xs, const GradcheckOptions& options) {
  Recording on(true);
  Checker checker(xs, options);
  Tensor weights;
  const Function loss = [&](const std::vector<Tensor>& in) {
    const Tensor y = fn(in);
    if (!weights) weights = draw(y.shape(), checker.random());
    return sum(y * weights);
  };
  GradReport report;
  checker.compare(loss, 1, report);
  if (options.order < 2 || !report.ok) return report;

  std::vector<Tensor> directions;
  for (const Tensor& x : xs) directions.push_back(draw(x.shape(), checker.random()));
  checker.compare(
      [&](const std::vector<Tensor>& in) {
        const std::vector<Tensor> g = grad(loss(in), in, {.create_graph = true});
        Tensor total = scalar(0, DType::f64);
        for (std::size_t i = 0; i < g.size(); ++i) {
          total = total + sum(g[i] * directions[i]);
          total =
              total + 0.0 * sum(in[i]);  // a linear function has no second derivative, but still depends on its inputs
        }
        return total;
      },
      2, report);
  return report;
}

}  // namespace moegrad
