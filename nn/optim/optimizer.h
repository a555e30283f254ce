// What all optimizers share: parameters in groups, their state by name, the learning rate. A learning rate and the
// steps of every parameter are small tensors on the model's device: nothing here reads a value back.
#pragma once
#include <string>
#include <vector>

#include "nn/module.h"
#include "ops/update.h"

namespace moegrad {

/// Parameters that share settings.
struct ParameterGroup {
  StateDict parameters;
  double weight_decay = 0;
  double lr_scale = 1;  ///< multiplies the learning rate
};

/// The parameters of a model in two groups: matrices with weight decay; biases and scales (rank below 2) without, nor
/// those named in `without`.   Errors  Error: the model has no parameter of such a name
std::vector<ParameterGroup> decay_matrices(Module& model, double weight_decay,
                                           const std::vector<std::string>& without = {});
/// All parameters of a model in one group.
std::vector<ParameterGroup> one_group(Module& model, double weight_decay = 0);

/// The base of optimizers. Parameters are changed in place; one without a gradient keeps its value and its state.
///   AdamW optimizer(decay_matrices(model, 0.1), {.lr = 1e-3});
///   loss.backward();  optimizer.step();  optimizer.zero_grad();
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// Updates every parameter by its gradient, times `scale` (f64 []) where that is given.
  ///   Errors  DTypeError, ShapeError, DeviceError: `scale` is something else; then nothing has changed
  void step(const Tensor& scale = {});
  void zero_grad();
  /// Between replays of a captured graph it holds for the next one.
  ///   Errors  Error: in a capture, which would keep the value for ever; negative or not finite
  void set_lr(double lr);
  double lr() const { return lr_.item(); }
  /// For schedules that move the momentum against the learning rate (OneCycle): SGD's and RMSprop's momentum, Adam's
  /// beta1. A captured graph keeps the one that it was captured with.
  ///   Errors  Error: out of range, or the optimizer has none
  virtual void set_momentum(double momentum);
  /// Updates of the parameter that had most of them.
  i64 steps() const;
  std::vector<Tensor> parameters() const;

  /// Views of "lr", and per parameter "<name>.step" and what the rule keeps, under PyTorch's names: "<name>.exp_avg".
  StateDict state_dict() const;
  /// As Module::load_state_dict.
  void load_state_dict(const StateDict& values);

 protected:
  /// `names`: of the rule's states; an empty name is a state that the settings leave out.
  /// Throws Error: no parameters, one given twice, two of one name, one that requires no gradient; lr or an lr_scale is
  /// negative or not finite.  DeviceError: the parameters are not on one device.
  Optimizer(const char* name, std::vector<ParameterGroup> groups, double lr, std::vector<std::string> names,
            double initial = 0);
  /// The rule of ops/update.h for parameters that share a weight decay: update_all(list, Rule{..}, at).
  virtual void update(std::span<const Updated> list, double weight_decay, const UpdateStep& at) const = 0;
  /// Throws Error: `good` is false.  For settings: check(beta1 >= 0 && beta1 < 1, "beta1 must be in [0, 1)", beta1).
  void check(bool good, const char* rule, double value) const;

 private:
  struct Trained {
    NamedTensor parameter;
    Tensor step;                // i64 []: updates of this parameter
    std::vector<Tensor> state;  // in the order of `names`; empty handles where a name is empty
    double weight_decay, lr_scale;
  };
  const char* name_;
  std::vector<std::string> names_;
  std::vector<Trained> trained_;
  Tensor lr_;
};

}  // namespace moegrad
