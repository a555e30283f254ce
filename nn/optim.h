// Optimizers, learning rate schedules and clipping. Learning rate, step count and clipping factor are tensors on the
// model's device: nothing here reads a value back.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "nn/module.h"

namespace moegrad {

/// Parameters that share settings.
struct ParameterGroup {
  StateDict parameters;
  double weight_decay = 0;
  double lr_scale = 1;  ///< multiplies the learning rate
};

/// The parameters of a model in two groups: matrices with weight decay; biases and scales (rank below 2) without.
std::vector<ParameterGroup> decay_matrices(Module& model, double weight_decay);

/// AdamW as ops/update.h writes it out. Parameters are changed in place; one without a gradient keeps its value and
/// state.
///   AdamW optimizer(decay_matrices(model, 0.1), {.lr = 1e-3});
///   loss.backward();  optimizer.step();  optimizer.zero_grad();
class AdamW {
 public:
  struct Options {
    double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  };
  /// Throws Error: no parameters, one given twice, or two of one name.
  AdamW(std::vector<ParameterGroup> groups, Options options);
  explicit AdamW(std::vector<ParameterGroup> groups) : AdamW(std::move(groups), Options{}) {}

  /// Updates every parameter by its gradient, times `scale` (f64 []) where that is given.
  void step(const Tensor& scale = {});
  void zero_grad();
  void set_lr(double lr);
  double lr() const { return lr_.item(); }
  /// Steps taken.
  i64 steps() const { return static_cast<i64>(step_.item()); }
  std::vector<Tensor> parameters() const;

  /// Views of "lr", "step", and per parameter "<name>.exp_avg" and "<name>.exp_avg_sq", the names of PyTorch.
  StateDict state_dict() const;
  /// As Module::load_state_dict.
  void load_state_dict(const StateDict& values);

 private:
  struct Trained {
    NamedTensor parameter;
    Tensor average, square;  // moving averages of the gradient and of its square
    double weight_decay, lr_scale;
  };
  std::vector<Trained> trained_;
  Options options_;
  Tensor lr_, step_;
};

/// What clipping found: the global norm of all gradients, and the factor for AdamW::step that brings it to at most
/// `max_norm`. The gradients stay as they are.
struct Clip {
  Tensor norm, scale;  // f64 []
};
/// scale = min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_.  Parameters without a gradient count as
/// 0.
///   Errors  Error: max_norm is not above 0
Clip clip_grad_norm(std::span<const Tensor> parameters, double max_norm);

/// The learning rate rises in a line over `warmup` steps, then falls along half a cosine to `floor` at step `total`.
///   Source  Loshchilov, Hutter: SGDR (2017), arXiv:1608.03983, equation 5, with one period
struct CosineSchedule {
  double peak = 1e-3, floor = 1e-4;
  i64 warmup = 100, total = 1000;
  /// Of the step that comes after `step` steps.
  double lr(i64 step) const;
  bool operator==(const CosineSchedule&) const = default;
};

}  // namespace moegrad
