// Stochastic gradient descent.
#pragma once
#include "nn/optim/optimizer.h"

namespace moegrad {

/// SgdRule of ops/update.h, with the weight decay of each group. State: "momentum_buffer", where momentum is not 0.
///   Errors  as Optimizer; Error: momentum outside [0, inf), nesterov without momentum or with dampening
class SGD : public Optimizer {
 public:
  struct Options {
    double lr = 1e-3, momentum = 0, dampening = 0;
    bool nesterov = false;
  };
  SGD(std::vector<ParameterGroup> groups, Options options);
  void set_momentum(double momentum) override;

 private:
  void update(std::span<const Updated> list, double weight_decay, const UpdateStep& at) const override;
  Options options_;
};

}  // namespace moegrad
