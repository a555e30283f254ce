#include "ops/autodiff/gradcheck.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <limits>
#include <random>
#include <set>

#include "core/autograd.h"
#include "core/choose.h"
#include "ops/arithmetic.h"
#include "ops/reduce.h"

namespace moegrad {
namespace {

using Doubles = std::vector<double>;

Tensor draw(const Shape& shape, std::mt19937_64& random) {
  Doubles v(static_cast<std::size_t>(shape.elements()));
  std::uniform_real_distribution<double> uniform(-1, 1);
  for (double& x : v) x = uniform(random);
  return from_vector(v, shape);
}

std::string describe_choice(const RouteTape& tape, std::size_t i) {
  return fmt::format("choice {} ({})", i, tape.choices()[i].text());
}

// ---- zeros: an outcome that no choice took, or a gradient that was lost

// Outcomes among n that a choice could have taken and did not; empty if it was not among n.
std::vector<i64> never_taken(const Choice& c, i64 n) {
  const int axis = choice_axis(c.scores, c.indices.shape());
  if (axis < 0 || c.scores[axis] != n) return {};
  std::vector<bool> taken(static_cast<std::size_t>(n), false);
  for (const i64 i : c.indices.to_vector<i64>())
    if (i >= 0 && i < n) taken[static_cast<std::size_t>(i)] = true;
  std::vector<i64> never;
  for (i64 i = 0; i < n; ++i)
    if (!taken[static_cast<std::size_t>(i)]) never.push_back(i);
  return never;
}

bool zero(const Doubles& v, std::size_t begin, std::size_t end) {
  for (std::size_t i = begin; i < end; ++i)
    if (v[i] != 0) return false;
  return true;
}

// Why a gradient of zeros is right; empty if there is nothing to say.
std::string note_on_zeros(const Doubles& gradient, const Shape& shape, const RouteTape& tape) {
  if (gradient.empty() || shape.rank() == 0) return {};
  const auto row = gradient.size() / static_cast<std::size_t>(shape[0]);
  for (std::size_t i = 0; i < tape.choices().size(); ++i) {
    std::vector<i64> dead;
    for (const i64 e : never_taken(tape.choices()[i], shape[0]))
      if (zero(gradient, static_cast<std::size_t>(e) * row, static_cast<std::size_t>(e + 1) * row)) dead.push_back(e);
    if (!dead.empty())
      return fmt::format("no gradient for {}, which {} never takes", fmt::join(dead, ", "), describe_choice(tape, i));
  }
  return zero(gradient, 0, gradient.size()) ? "no gradient, and the output does not change with it" : "";
}

// ---- one comparison

// A scalar function of the inputs' values, and the point at which it is checked.
class Checker {
 public:
  Checker(const std::vector<Tensor>& xs, const GradcheckOptions& options) : options_(options), random_(options.seed) {
    if (options.order != 1 && options.order != 2)
      throw Error(fmt::format("gradcheck: order must be 1 or 2; got {}", options.order));
    if (!(options.eps > 0)) throw Error(fmt::format("gradcheck: eps must be above 0; got {}", options.eps));
    for (const Tensor& x : xs) {
      if (x.dtype() != DType::f64) throw_dtype("gradcheck", "f64", x.dtype());
      shapes_.push_back(x.shape());
      values_.push_back(x.to_vector<double>());
    }
    if (!options.names.empty() && options.names.size() != xs.size())
      throw Error(
          fmt::format("gradcheck: there must be one name for each x; got {} for {}", options.names.size(), xs.size()));
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
  // Other inputs near by.
  void move() {
    std::uniform_real_distribution<double> uniform(-0.01, 0.01);
    for (Doubles& v : values_)
      for (double& x : v) x += uniform(random_) * (1 + std::abs(x));
  }
  GradReport empty_report() const {
    GradReport report;
    for (std::size_t i = 0; i < shapes_.size(); ++i)
      report.inputs.push_back(
          {.name = options_.names.empty() ? fmt::format("input {}", i) : options_.names[i], .shape = shapes_[i]});
    return report;
  }

  // Compares the gradient of `scalar_of` with differences; keeps the worst element in `report`.
  void compare(const Function& scalar_of, int order, GradReport& report) {
    const std::vector<Tensor> xs = leaves();
    base_.clear();
    std::vector<Tensor> gradients;
    {
      TapeScope scope(base_, options_.freeze_routes ? TapeMode::record : TapeMode::measure);
      const Tensor y = scalar_of(xs);
      if (!y.requires_grad())
        return note({.ok = false, .order = order, .reason = "the output depends on no input"}, report);
      gradients = grad(y, xs);
    }
    for (std::size_t i = 0; i < xs.size(); ++i) {
      const Doubles analytic = gradients[i].to_vector<double>();
      InputReport& input = report.inputs[i];
      if (order == 1) input.note = note_on_zeros(analytic, shapes_[i], base_);
      compare_input(scalar_of, order, i, analytic, report);
      if (!input.ok && input.order == 1 && input.reason.empty() && std::isfinite(input.numeric) &&
          zero(analytic, 0, analytic.size()))
        input.note = "no gradient, but the output changes with it: the gradient is lost on the way";
    }
  }

 private:
  void compare_input(const Function& f, int order, std::size_t i, const Doubles& analytic, GradReport& report) {
    const i64 n = static_cast<i64>(analytic.size());
    std::uniform_int_distribution<i64> any(0, std::max<i64>(n - 1, 0));
    for (i64 k = 0; k < std::min(n, options_.most); ++k) {
      const i64 at = n <= options_.most ? k : any(random_);
      Doubles direction(analytic.size(), 0);
      direction[static_cast<std::size_t>(at)] = 1;
      compare_direction(f, order, i, at, direction, analytic, report);
    }
    if (n > 0) compare_direction(f, order, i, -1, draw({n}, random_).to_vector<double>(), analytic, report);
  }

  void compare_direction(const Function& f, int order, std::size_t i, i64 element, const Doubles& direction,
                         const Doubles& analytic, GradReport& report) {
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
    note(r, report.inputs[i]);
  }

  double at_step(const Function& f, std::size_t i, const Doubles& direction, double step, GradReport& r) {
    const Doubles before = values_[i];
    for (std::size_t k = 0; k < before.size(); ++k) values_[i][k] += step * direction[k];
    const std::vector<Tensor> xs = leaves();
    values_[i] = before;
    if (options_.freeze_routes) {
      TapeScope scope(base_, TapeMode::replay);
      return f(xs).item();
    }
    RouteTape tape;
    TapeScope scope(tape, TapeMode::measure);
    const double y = f(xs).item();
    if (const std::string found = flip(tape, step); !found.empty() && !r.flips) r.reason = found, r.flips = true;
    return y;
  }

  // What a step does to the choices, if it is too much.
  std::string flip(const RouteTape& tape, double step) const {
    constexpr const char* advice = "use other inputs (redraw), a smaller eps or freeze_routes";
    if (const std::string change = base_.difference(tape); !change.empty()) {
      const i64 at = base_.first_difference(tape);
      const std::string margin =
          at < static_cast<i64>(base_.choices().size())
              ? fmt::format("; its margin is {:.3g}", base_.choices()[static_cast<std::size_t>(at)].margin)
              : "";
      return fmt::format("a step of {} changes a choice, so there is no derivative to compare ({}{}); {}", step, change,
                         margin, advice);
    }
    for (std::size_t i = 0; i < tape.choices().size(); ++i) {
      const double margin = base_.choices()[i].margin, moved = std::abs(tape.choices()[i].margin - margin);
      if (margin < 2 * moved)
        return fmt::format("a step of {} could change {}: its margin is {:.3g}, and the step moves that by {:.3g}; {}",
                           step, describe_choice(base_, i), margin, moved, advice);
    }
    return {};
  }

  // How far off, in units of what is allowed. NaN is infinitely bad, and so is a choice that changed.
  template <class Report> static double badness(const Report& r, bool reason) {
    if (std::isnan(r.error) || reason) return std::numeric_limits<double>::infinity();
    return r.allowed > 0 ? r.error / r.allowed : -1;
  }
  // Does r replace the worst so far? An element says more than a direction.
  template <class Report> static bool replaces(const GradReport& r, const Report& worst, bool worst_reason) {
    if (worst.ok != r.ok) return worst.ok;
    const bool worse = badness(r, !r.reason.empty()) > badness(worst, worst_reason);
    return worse && (worst.ok || r.element >= 0 || worst.element < 0);
  }
  static void note(const GradReport& r, GradReport& worst) {
    if (!replaces(r, worst, !worst.reason.empty())) return;
    const i64 checked = worst.checked;
    std::vector<InputReport> inputs = std::move(worst.inputs);
    worst = r;
    worst.checked = checked;
    worst.inputs = std::move(inputs);
  }
  static void note(const GradReport& r, InputReport& worst) {
    if (!replaces(r, worst, !worst.reason.empty())) return;
    worst.ok = r.ok;
    worst.order = r.order;
    worst.element = r.element;
    worst.numeric = r.numeric;
    worst.analytic = r.analytic;
    worst.error = r.error;
    worst.allowed = r.allowed;
    worst.reason = r.reason;
  }

  const GradcheckOptions& options_;
  std::mt19937_64 random_;
  std::vector<Shape> shapes_;
  std::vector<Doubles> values_;
  RouteTape base_;
};

std::string place(i64 element) { return element < 0 ? "a random direction" : fmt::format("element {}", element); }

// "element 5 = [1, 2]"
std::string place_in(const Shape& shape, i64 element) {
  if (element < 0 || shape.rank() < 2) return place(element);
  Shape index = shape;
  i64 rest = element;
  for (int a = shape.rank() - 1; a >= 0; --a) {
    index[a] = rest % shape[a];
    rest /= shape[a];
  }
  return fmt::format("{} = {}", place(element), to_string(index));
}

GradReport check_here(const Function& fn, const std::vector<Tensor>& xs, Checker& checker, int order) {
  Tensor weights;
  const Function loss = [&](const std::vector<Tensor>& in) {
    const Tensor y = fn(in);
    if (!weights) weights = draw(y.shape(), checker.random());
    return sum(y * weights);
  };
  GradReport report = checker.empty_report();
  checker.compare(loss, 1, report);
  if (order < 2 || !report.ok) return report;

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

}  // namespace

double InputReport::relative() const {
  const double size = std::max(std::abs(numeric), std::abs(analytic));
  return size > 0 ? error / size : error;
}

std::string InputReport::text() const {
  if (!reason.empty()) return fmt::format("{} {}: not compared: {}", name, to_string(shape), reason);
  std::string y = fmt::format("{} {}: {}", name, to_string(shape), ok ? "ok" : "WRONG");
  if (order > 0)
    y += fmt::format(", worst {}{}: numeric {:.6g}, analytic {:.6g}, relative error {:.2g}", place_in(shape, element),
                     order > 1 ? " (order 2)" : "", numeric, analytic, relative());
  return note.empty() ? y : y + "; " + note;
}

std::string GradReport::text() const {
  std::string where = fmt::format("gradient of order {}", order);
  if (input >= 0) {
    const std::string number = fmt::format("input {}", input);
    const std::string name =
        static_cast<std::size_t>(input) < inputs.size() ? inputs[static_cast<std::size_t>(input)].name : number;
    where += fmt::format(", {}{}, {}", number, name == number ? "" : fmt::format(" ({})", name), place(element));
  }
  if (!reason.empty()) return where + ": " + reason;
  std::string y =
      fmt::format("{}: numeric {:.12g}, analytic {:.12g}, error {:.3g}, allowed {:.3g} ({} differences taken)", where,
                  numeric, analytic, error, allowed, checked);
  if (!ok && input >= 0 && !inputs[static_cast<std::size_t>(input)].note.empty())
    y += "; " + inputs[static_cast<std::size_t>(input)].note;
  return y;
}

std::string GradReport::table() const {
  std::string y = text() + "\n";
  for (const InputReport& input : inputs) y += "  " + input.text() + "\n";
  return y;
}

GradReport gradcheck(const Function& fn, const std::vector<Tensor>& xs, const GradcheckOptions& options) {
  Recording on(true);
  Checker checker(xs, options);
  GradReport report = check_here(fn, xs, checker, options.order);
  for (int i = 1; report.flips && i <= options.redraw; ++i) {
    checker.move();
    report = check_here(fn, xs, checker, options.order);
    report.redrawn = i;
  }
  return report;
}

}  // namespace moegrad
