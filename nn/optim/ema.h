// A moving average of a model's parameters: smoother weights for evaluation.
#pragma once
#include "nn/module.h"

namespace moegrad {

/// average = decay average + (1 - decay) parameter, after every step; it starts as the parameters.
///   ParameterAverage average(model, 0.999);
///   optimizer.step();  average.update();
///   average.swap();  evaluate(model);  average.swap();
/// Averages of bf16 parameters are f32: a step of bf16 is too coarse for a decay near 1.
///   Source  Polyak, Juditsky: Acceleration of stochastic approximation by averaging (1992), with a fixed decay
class ParameterAverage {
 public:
  /// Throws Error: decay outside [0, 1].
  ParameterAverage(Module& model, double decay);
  /// Throws Error: the averages are in the model.
  void update();
  /// Puts the averages into the model; when they are there, puts back the values from before, bit for bit.
  void swap();
  /// Views of the averages under the parameters' names.
  StateDict state_dict() const { return averages_; }
  /// As Module::load_state_dict.
  void load_state_dict(const StateDict& values);

 private:
  StateDict parameters_, averages_;
  std::vector<Tensor> before_;  // values of the parameters while the averages are in the model
  double decay_;
};

}  // namespace moegrad
