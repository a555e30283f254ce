#include "nn/optim.h"

#include <fmt/format.h>

#include <cmath>
#include <numbers>
#include <set>

#include "core/autograd.h"
#include "ops/arithmetic.h"
#include "ops/unary.h"
#include "ops/update.h"

namespace moegrad {

std::vector<ParameterGroup> decay_matrices(Module& model, double weight_decay) {
  std::vector<ParameterGroup> groups(2);
  groups[0].weight_decay = weight_decay;
  for (const Member& m : model.named_parameters())
    groups[m.rank() >= 2 ? 0 : 1].parameters.push_back({m.name, *m.tensor});
  return groups;
}

// ---- AdamW

AdamW::AdamW(std::vector<ParameterGroup> groups, Options options)
    : options_(options), lr_(scalar(options.lr, DType::f64)), step_(scalar(0, DType::i64)) {
  std::set<std::string> names;
  std::set<const TensorBody*> bodies;
  for (ParameterGroup& group : groups)
    for (NamedTensor& p : group.parameters) {
      if (!names.insert(p.name).second || !bodies.insert(&p.tensor.body()).second)
        throw Error(fmt::format("adamw: a parameter belongs to one group, under one name; got {} again", p.name));
      const Tensor average = zeros_like(p.tensor), square = zeros_like(p.tensor);
      trained_.push_back({std::move(p), average, square, group.weight_decay, group.lr_scale});
    }
  if (trained_.empty()) throw Error("adamw: there must be parameters that require a gradient; got none");
}

void AdamW::step(const Tensor& scale) {
  no_grad guard;
  count_up(step_);
  AdamWUpdate update{
      .beta1 = options_.beta1, .beta2 = options_.beta2, .eps = options_.eps, .lr = lr_, .step = step_, .scale = scale};
  for (const Trained& t : trained_) {
    const Tensor gradient = t.parameter.tensor.grad();
    if (!gradient) continue;
    update.weight_decay = t.weight_decay;
    update.lr_scale = t.lr_scale;
    adamw_update(t.parameter.tensor, gradient, t.average, t.square, update);
  }
}

void AdamW::zero_grad() {
  for (const Trained& t : trained_) t.parameter.tensor.zero_grad();
}

void AdamW::set_lr(double lr) { lr_.assign(scalar(lr, DType::f64)); }

std::vector<Tensor> AdamW::parameters() const {
  std::vector<Tensor> list;
  for (const Trained& t : trained_) list.push_back(t.parameter.tensor);
  return list;
}

StateDict AdamW::state_dict() const {
  StateDict state{{"lr", lr_}, {"step", step_}};
  for (const Trained& t : trained_) {
    state.push_back({t.parameter.name + ".exp_avg", t.average});
    state.push_back({t.parameter.name + ".exp_avg_sq", t.square});
  }
  return state;
}

void AdamW::load_state_dict(const StateDict& values) { copy_state("adamw", state_dict(), values); }

// ---- clipping and schedule

Clip clip_grad_norm(std::span<const Tensor> parameters, double max_norm) {
  if (!(max_norm > 0)) throw Error(fmt::format("clip_grad_norm: max_norm must be above 0; got {}", max_norm));
  no_grad guard;
  std::vector<Tensor> gradients;
  for (const Tensor& p : parameters)
    if (const Tensor g = p.grad()) gradients.push_back(g);
  Clip clip{.norm = global_norm(gradients), .scale = {}};
  clip.scale = clamp(max_norm / (clip.norm + 1e-6), 0, 1);
  return clip;
}

double CosineSchedule::lr(i64 step) const {
  if (step < warmup) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup);
  if (step >= total) return floor;
  const double done = static_cast<double>(step - warmup) / static_cast<double>(total - warmup);
  return floor + (peak - floor) * 0.5 * (1 + std::cos(std::numbers::pi * done));
}

}  // namespace moegrad
