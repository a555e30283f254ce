// Lion: the sign of an interpolated momentum.
#pragma once
#include "nn/optim/optimizer.h"

namespace moegrad {

/// LionRule of ops/update.h, with the weight decay of each group, decoupled. State: "exp_avg".
///   Errors  as Optimizer; Error: a beta outside [0, 1)
class Lion : public Optimizer {
 public:
  struct Options {
    double lr = 1e-4, beta1 = 0.9, beta2 = 0.99;
  };
  Lion(std::vector<ParameterGroup> groups, Options options);

 private:
  void update(std::span<const Updated> list, double weight_decay, const UpdateStep& at) const override;
  Options options_;
};

}  // namespace moegrad
