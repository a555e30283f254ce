// Optimizers: some steps on one small problem, the cross entropy (mean) of linear(tanh(linear(X, w1, b1)), w2, b2).
#include <fmt/format.h>

#include <memory>

#include "nn/optim.h"
#include "ops/concat.h"
#include "ops/cross_entropy.h"
#include "ops/matmul.h"
#include "ops/unary.h"
#include "tests/golden/run.h"

namespace moegrad::golden {
namespace {

using Make = std::function<std::unique_ptr<Optimizer>(StateDict parameters, Arguments& a)>;

std::vector<ParameterGroup> group(StateDict parameters, Arguments& a, double weight_decay = 0) {
  return {{std::move(parameters), a.number("weight_decay", weight_decay)}};
}

std::pair<double, double> betas(Arguments& a, double beta1, double beta2) {
  if (!a.has("betas")) return {beta1, beta2};
  const std::vector<double> list = a.numbers("betas");
  if (list.size() != 2) throw CaseError("betas must be two numbers");
  return {list[0], list[1]};
}

AdamOptions adam_options(Arguments& a) {
  const auto [beta1, beta2] = betas(a, 0.9, 0.999);
  return {.lr = a.number("lr", 1e-3),
          .beta1 = beta1,
          .beta2 = beta2,
          .eps = a.number("eps", 1e-8),
          .amsgrad = a.flag("amsgrad", false)};
}

SGD::Options sgd_options(Arguments& a) {
  return {.lr = a.number("lr"),
          .momentum = a.number("momentum", 0),
          .dampening = a.number("dampening", 0),
          .nesterov = a.flag("nesterov", false)};
}

RMSprop::Options rmsprop_options(Arguments& a) {
  return {.lr = a.number("lr", 1e-2),
          .alpha = a.number("alpha", 0.99),
          .eps = a.number("eps", 1e-8),
          .momentum = a.number("momentum", 0),
          .centered = a.flag("centered", false)};
}

Adagrad::Options adagrad_options(Arguments& a) {
  return {.lr = a.number("lr", 1e-2),
          .lr_decay = a.number("lr_decay", 0),
          .initial = a.number("initial_accumulator_value", 0),
          .eps = a.number("eps", 1e-10)};
}

Lion::Options lion_options(Arguments& a) {
  const auto [beta1, beta2] = betas(a, 0.9, 0.99);
  return {.lr = a.number("lr", 1e-4), .beta1 = beta1, .beta2 = beta2};
}

std::map<std::string, Make> optimizers() {
  return {
      {"adagrad", [](StateDict p, Arguments& a) { return std::make_unique<Adagrad>(group(p, a), adagrad_options(a)); }},
      {"adam", [](StateDict p, Arguments& a) { return std::make_unique<Adam>(group(p, a), adam_options(a)); }},
      {"adamw", [](StateDict p, Arguments& a) { return std::make_unique<AdamW>(group(p, a, 1e-2), adam_options(a)); }},
      {"lion", [](StateDict p, Arguments& a) { return std::make_unique<Lion>(group(p, a), lion_options(a)); }},
      {"rmsprop", [](StateDict p, Arguments& a) { return std::make_unique<RMSprop>(group(p, a), rmsprop_options(a)); }},
      {"sgd", [](StateDict p, Arguments& a) { return std::make_unique<SGD>(group(p, a), sgd_options(a)); }}};
}

// What a run writes down: the parameters at the start and after every step, the gradients and the loss of every step.
struct History {
  std::map<std::string, std::vector<Tensor>> parameters, gradients;
  std::vector<Tensor> losses;
};

Tensor copy(const Tensor& x) {
  const Tensor y = empty_like(x);
  y.assign(x.detach());
  return y;
}

}  // namespace

void run_optimizer(Bundle& bundle, const Case& c, Comparison& comparison) {
  static const auto table = optimizers();
  const auto make = table.find(c.op);
  if (make == table.end()) throw CaseError(fmt::format("unknown optimizer '{}'", c.op));
  std::map<std::string, Tensor> p;
  StateDict parameters;
  for (const std::string& full : bundle.names("data.param.")) {
    const std::string name = full.substr(std::string("data.param.").size());
    p[name] = copy(bundle.take(full)).requires_grad_();
    parameters.push_back({name, p[name]});
  }
  Arguments args(c.args, bundle.dtype());
  const std::unique_ptr<Optimizer> optimizer = make->second(parameters, args);
  const bool maximize = args.flag("maximize", false);
  args.check_all_read();

  const i64 steps = bundle.take(c.name + ".losses").size();
  if (c.entry.value("steps", steps) != steps)
    throw CaseError(fmt::format("the file has the losses of {} steps", steps));

  History seen;
  for (const auto& [name, x] : p) seen.parameters[name].push_back(copy(x));
  const Tensor x = bundle.take("data.in.X"), targets = bundle.take("data.in.t");
  const Tensor direction = scalar(maximize ? -1 : 1, DType::f64);
  for (i64 step = 0; step < steps; ++step) {
    optimizer->zero_grad();
    const Tensor hidden = tanh(linear(x, p.at("w1"), p.at("b1")));
    const Tensor loss = cross_entropy(linear(hidden, p.at("w2"), p.at("b2")), targets);
    loss.backward();
    for (const auto& [name, w] : p) seen.gradients[name].push_back(copy(w.grad()));
    optimizer->step(direction);
    for (const auto& [name, w] : p) seen.parameters[name].push_back(copy(w));
    seen.losses.push_back(loss.detach());
  }
  const auto check = [&](const std::string& what, const std::vector<Tensor>& got) {
    comparison.check(what, stack(got, 0), bundle.take(c.name + "." + what));
  };
  for (const auto& [name, list] : seen.parameters) check("params." + name, list);
  for (const auto& [name, list] : seen.gradients) check("grads." + name, list);
  check("losses", seen.losses);
}

}  // namespace moegrad::golden
