// RMSprop.
#pragma once
#include "nn/optim/optimizer.h"

namespace moegrad {

/// RmspropRule of ops/update.h, with the weight decay of each group. State: "square_avg", "grad_avg" where centred,
/// "momentum_buffer" where momentum is not 0.
///   Errors  as Optimizer; Error: alpha outside [0, 1], momentum outside [0, inf), eps negative
class RMSprop : public Optimizer {
 public:
  struct Options {
    double lr = 1e-2, alpha = 0.99, eps = 1e-8, momentum = 0;
    bool centered = false;
  };
  RMSprop(std::vector<ParameterGroup> groups, Options options);
  void set_momentum(double momentum) override;

 private:
  void update(std::span<const Updated> list, double weight_decay, const UpdateStep& at) const override;
  Options options_;
};

}  // namespace moegrad
