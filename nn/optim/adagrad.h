// Adagrad.
#pragma once
#include "nn/optim/optimizer.h"

namespace moegrad {

/// AdagradRule of ops/update.h, with the weight decay of each group. State: "sum", which starts at `initial`.
///   Errors  as Optimizer; Error: lr_decay, initial or eps negative
class Adagrad : public Optimizer {
 public:
  struct Options {
    double lr = 1e-2, lr_decay = 0, initial = 0, eps = 1e-10;
  };
  Adagrad(std::vector<ParameterGroup> groups, Options options);

 private:
  void update(std::span<const Updated> list, double weight_decay, const UpdateStep& at) const override;
  Options options_;
};

}  // namespace moegrad
