#include "nn/optim/optimizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "core/autograd.h"
#include "core/cuda.h"
#include "core/fill.h"

namespace moegrad {

std::vector<ParameterGroup> decay_matrices(Module& model, double weight_decay,
                                           const std::vector<std::string>& without) {
  std::vector<ParameterGroup> groups(2);
  groups[0].weight_decay = weight_decay;
  std::set<std::string> left(without.begin(), without.end());
  for (const Member& m : model.named_parameters())
    groups[left.erase(m.name) == 0 && m.rank() >= 2 ? 0 : 1].parameters.push_back({m.name, *m.tensor});
  if (!left.empty()) throw Error(fmt::format("decay_matrices: `without` must name parameters; got {}", *left.begin()));
  return groups;
}

std::vector<ParameterGroup> one_group(Module& model, double weight_decay) {
  std::vector<ParameterGroup> groups(1);
  groups[0].weight_decay = weight_decay;
  for (const Member& m : model.named_parameters()) groups[0].parameters.push_back({m.name, *m.tensor});
  return groups;
}

Optimizer::Optimizer(const char* name, std::vector<ParameterGroup> groups, double lr, std::vector<std::string> names,
                     double initial)
    : name_(name), names_(std::move(names)) {
  check(lr >= 0 && std::isfinite(lr), "lr must be finite and not negative", lr);
  std::set<std::string> known;
  std::set<const TensorBody*> bodies;
  for (ParameterGroup& group : groups) {
    check(group.weight_decay >= 0 && std::isfinite(group.weight_decay), "weight_decay must be finite and not negative",
          group.weight_decay);
    check(group.lr_scale >= 0 && std::isfinite(group.lr_scale), "lr_scale must be finite and not negative",
          group.lr_scale);
    for (NamedTensor& p : group.parameters) {
      if (!known.insert(p.name).second || !bodies.insert(&p.tensor.body()).second)
        throw Error(fmt::format("{}: a parameter belongs to one group, under one name; got {} again", name_, p.name));
      if (!p.tensor.requires_grad())
        throw Error(
            fmt::format("{}: a parameter must require a gradient; got {} {}", name_, p.name, describe(p.tensor)));
      Trained t{p, zeros({}, DType::i64, p.tensor.device()), {}, group.weight_decay, group.lr_scale};
      for (const std::string& state : names_)
        t.state.push_back(state.empty()
                              ? Tensor{}
                              : full(p.tensor.shape(), initial, state_dtype(p.tensor.dtype()), p.tensor.device()));
      trained_.push_back(std::move(t));
    }
  }
  if (trained_.empty())
    throw Error(fmt::format("{}: there must be parameters that require a gradient; got none", name_));
  for (const Trained& t : trained_) check_same_device(name_, trained_.front().parameter.tensor, t.parameter.tensor);
  lr_ = scalar(lr, DType::f64, trained_.front().parameter.tensor.device());
}

void Optimizer::check(bool good, const char* rule, double value) const {
  if (!good) throw Error(fmt::format("{}: {}; got {}", name_, rule, value));
}

// Parameters that share their settings, one group behind the other, are updated together.
void Optimizer::step(const Tensor& scale) {
  no_grad guard;
  if (scale)  // before any parameter has moved
    check_update_scalar(name_, "scale", scale, DType::f64, lr_.device());
  std::vector<Updated> list;
  for (std::size_t i = 0; i < trained_.size(); ++i) {
    const Trained& t = trained_[i];
    if (const Tensor gradient = t.parameter.tensor.grad())
      list.push_back({t.parameter.tensor, gradient, t.state, t.step});
    const bool last = i + 1 == trained_.size() || trained_[i + 1].weight_decay != t.weight_decay ||
                      trained_[i + 1].lr_scale != t.lr_scale;
    if (!last) continue;
    update(list, t.weight_decay, {.lr = lr_, .step = {}, .scale = scale, .lr_scale = t.lr_scale});
    list.clear();
  }
}

void Optimizer::zero_grad() {
  for (const Trained& t : trained_) t.parameter.tensor.zero_grad();
}

void Optimizer::set_lr(double lr) {
  check(lr >= 0 && std::isfinite(lr), "lr must be finite and not negative", lr);
  if constexpr (kWithCuda)
    if (lr_.device() == Device::cuda && cuda::capturing())
      throw Error(
          fmt::format("{}: the learning rate must be set before a captured graph is replayed, not in it", name_));
  MOEGRAD_LAUNCH(lr_.device(), fill_value, writable<double>(lr_), 1, lr);
}

void Optimizer::set_momentum(double momentum) { check(false, "it has no momentum to set", momentum); }

i64 Optimizer::steps() const {
  i64 most = 0;
  for (const Trained& t : trained_) most = std::max(most, static_cast<i64>(t.step.item()));
  return most;
}

std::vector<Tensor> Optimizer::parameters() const {
  std::vector<Tensor> list;
  for (const Trained& t : trained_) list.push_back(t.parameter.tensor);
  return list;
}

StateDict Optimizer::state_dict() const {
  StateDict state{{"lr", lr_}};
  for (const Trained& t : trained_) {
    state.push_back({t.parameter.name + ".step", t.step});
    for (std::size_t i = 0; i < names_.size(); ++i)
      if (t.state[i]) state.push_back({t.parameter.name + "." + names_[i], t.state[i]});
  }
  return state;
}

void Optimizer::load_state_dict(const StateDict& values) { copy_state(name_, state_dict(), values); }

}  // namespace moegrad
