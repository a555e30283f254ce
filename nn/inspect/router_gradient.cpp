#include "nn/inspect/router_gradient.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>

#include "core/autograd.h"
#include "nn/moe/quiet_routers.h"
#include "ops/ops.h"

namespace moegrad {
namespace {

constexpr const char* kTask = "task";
constexpr const char* kNoise = "noise";

double dot(const Tensor& a, const Tensor& b) {
  no_grad guard;
  return sum(cast(a, DType::f64) * cast(b, DType::f64)).item();
}

// In degrees.
double angle_between(const Tensor& a, const Tensor& b) {
  const double lengths = std::sqrt(dot(a, a)) * std::sqrt(dot(b, b));
  return lengths > 0 ? std::acos(std::clamp(dot(a, b) / lengths, -1.0, 1.0)) * 180 / std::numbers::pi : kNoValue;
}

// Gradients of one loss, one per parameter, and its name.
struct LossGradients {
  std::string name;
  std::vector<Tensor> grads;
};

// d(loss)/dx; zeros where the loss depends on none.
std::vector<Tensor> gradients_of(const Tensor& loss, const std::vector<Tensor>& xs) {
  if (loss.rank() != 0)
    throw ShapeError(fmt::format("router_gradients: a loss must be a scalar; got {}", describe(loss)));
  if (loss.requires_grad()) return grad(loss, xs, {.retain_graph = true});
  std::vector<Tensor> zero;
  for (const Tensor& x : xs) zero.push_back(zeros(x.shape(), x.dtype(), x.device()));
  return zero;
}

struct Pass {
  std::vector<LossGradients> losses;  // the task first, then auxiliary ones by name, weighted
  std::vector<Tensor> total;
};

Pass run(const Random& random, const std::function<Tensor(Context&)>& pass, const std::vector<Tensor>& xs,
         const RouterGradientOptions& options) {
  Random own = random;
  Context context{.training = true, .random = &own};
  const Tensor task = pass(context);
  Pass result{.losses = {{kTask, gradients_of(task, xs)}}, .total = {}};
  Tensor total = task;
  for (const auto& [name, weight] : options.weights) {
    const auto found = context.losses.find(name);
    if (found == context.losses.end())
      throw Error(fmt::format(
          "router_gradients: every weighted loss must be added by the pass; got none of the name '{}'", name));
    const Tensor loss = found->second * weight;
    result.losses.push_back({name, gradients_of(loss, xs)});
    total = total + loss;
  }
  result.total = gradients_of(total, xs);
  return result;
}

GradientPart part_of(const std::string& name, const Tensor& grad) { return {name, grad, std::sqrt(dot(grad, grad))}; }

// What the second pass has more than the first, in parameter i.
Tensor added(const Pass& with, const Pass& without, std::size_t i) {
  no_grad guard;
  Tensor sum;
  for (std::size_t l = 0; l < with.losses.size(); ++l) {
    const Tensor more = with.losses[l].grads[i] - without.losses[l].grads[i];
    sum = sum ? sum + more : more;
  }
  return sum;
}

std::vector<Member> chosen_parameters(Module& model, const std::string& pattern) {
  std::vector<Member> chosen;
  for (const Member& m : model.named_parameters())
    if (fnmatch(pattern.c_str(), m.name.c_str(), 0) == 0) chosen.push_back(m);
  if (chosen.empty())
    throw Error(fmt::format("router_gradients: a parameter must have such a name; got '{}'", pattern));
  return chosen;
}

}  // namespace

const GradientPart& RouterGradient::part(const std::string& name) const {
  for (const GradientPart& p : parts)
    if (p.name == name) return p;
  throw Error(fmt::format("router gradient: there must be such a part; got '{}'", name));
}

double RouterGradient::angle(const std::string& a, const std::string& b) const {
  return angle_between(part(a).grad, part(b).grad);
}

std::vector<RouterGradient> router_gradients(Module& model, const Random& random,
                                             const std::function<Tensor(Context&)>& pass,
                                             const RouterGradientOptions& options) {
  const std::vector<Member> chosen = chosen_parameters(model, options.parameters);
  std::vector<Tensor> xs;
  for (const Member& m : chosen) xs.push_back(*m.tensor);
  const Pass noisy = run(random, pass, xs, options);
  std::optional<Pass> silent;
  if (options.noise) {
    const QuietRouters quiet;
    silent = run(random, pass, xs, options);
  }
  std::vector<RouterGradient> result;
  for (std::size_t i = 0; i < xs.size(); ++i) {
    RouterGradient g{.parameter = chosen[i].name, .parts = {}, .total = noisy.total[i]};
    g.norm = std::sqrt(dot(g.total, g.total));
    for (const LossGradients& loss : (silent ? *silent : noisy).losses)
      g.parts.push_back(part_of(loss.name, loss.grads[i]));
    if (silent) g.parts.push_back(part_of(kNoise, added(noisy, *silent, i)));
    result.push_back(std::move(g));
  }
  return result;
}

// ---- figures

namespace {

std::string number(double value) { return std::isnan(value) ? "" : fmt::format("{:.3g}", value); }
std::string degrees(double value) { return std::isnan(value) ? "" : fmt::format("{:.1f}°", value); }

}  // namespace

Table router_gradient_table(const std::vector<RouterGradient>& gradients) {
  Table table;
  table.title = "Gradients of routers";
  table.header = {"parameter", "part", "norm", "of the total", "angle to task", "angle to total"};
  for (const RouterGradient& g : gradients) {
    for (const GradientPart& p : g.parts)
      table.rows.push_back({g.parameter, p.name, number(p.norm),
                            g.norm > 0 ? fmt::format("{:.1f} %", 100 * p.norm / g.norm) : "",
                            degrees(g.angle(kTask, p.name)), degrees(angle_between(p.grad, g.total))});
    table.rows.push_back(
        {g.parameter, "total", number(g.norm), "100.0 %", degrees(angle_between(g.part(kTask).grad, g.total)), ""});
  }
  table.note = "Parts add up to the total: angles beyond 90 degrees are parts that fight each other.";
  return table;
}

void RouterGradientHistory::add(i64 step, const std::vector<RouterGradient>& gradients) {
  for (const RouterGradient& g : gradients) {
    for (const GradientPart& p : g.parts) history_.add(step, fmt::format("{}\tnorm\t{}", g.parameter, p.name), p.norm);
    history_.add(step, fmt::format("{}\tnorm\ttotal", g.parameter), g.norm);
    for (std::size_t a = 0; a < g.parts.size(); ++a)
      for (std::size_t b = a + 1; b < g.parts.size(); ++b)
        history_.add(step, fmt::format("{}\tangle\t{} and {}", g.parameter, g.parts[a].name, g.parts[b].name),
                     angle_between(g.parts[a].grad, g.parts[b].grad));
  }
}

std::vector<std::string> RouterGradientHistory::parameters() const {
  std::vector<std::string> list;
  for (const std::string& name : history_.names()) {
    const std::string parameter = name.substr(0, name.find('\t'));
    if (std::find(list.begin(), list.end(), parameter) == list.end()) list.push_back(parameter);
  }
  return list;
}

LineChart RouterGradientHistory::chart(const std::string& parameter, const char* kind) const {
  LineChart chart;
  chart.x_label = "step";
  const std::string prefix = fmt::format("{}\t{}\t", parameter, kind);
  for (const std::string& name : history_.names())
    if (name.starts_with(prefix)) chart.series.push_back(history_.series(name, name.substr(prefix.size())));
  return chart;
}

LineChart RouterGradientHistory::norms(const std::string& parameter) const {
  LineChart chart = this->chart(parameter, "norm");
  chart.title = fmt::format("Gradient of {}, by part", parameter);
  chart.y_label = "norm";
  chart.log_y = true;
  return chart;
}

LineChart RouterGradientHistory::angles(const std::string& parameter) const {
  LineChart chart = this->chart(parameter, "angle");
  chart.title = fmt::format("Gradient of {}: angles between its parts", parameter);
  chart.y_label = "degrees";
  chart.level = 90;
  chart.level_name = "independent";
  return chart;
}

RouterGradientHistory RouterGradientHistory::from_text(const std::string& text) {
  RouterGradientHistory history;
  history.history_ = ScalarHistory::from_text(text);
  return history;
}

}  // namespace moegrad
