// Adam and AdamW.
#pragma once
#include "nn/optim/optimizer.h"

namespace moegrad {

struct AdamOptions {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  bool amsgrad = false;
};

/// AdamRule of ops/update.h; the weight decay of each group is added to the gradient.
/// State: "exp_avg", "exp_avg_sq", and "max_exp_avg_sq" with amsgrad.
///   Errors  as Optimizer; Error: a beta outside [0, 1), eps negative
class Adam : public Optimizer {
 public:
  using Options = AdamOptions;
  Adam(std::vector<ParameterGroup> groups, Options options) : Adam("adam", std::move(groups), options, false) {}
  explicit Adam(std::vector<ParameterGroup> groups) : Adam(std::move(groups), Options{}) {}
  void set_momentum(double momentum) override;

 protected:
  Adam(const char* name, std::vector<ParameterGroup> groups, const Options& options, bool decoupled);

 private:
  void update(std::span<const Updated> list, double weight_decay, const UpdateStep& at) const override;
  Options options_;
  bool decoupled_;
};

/// Adam with decoupled weight decay: the weights shrink by themselves, past the moving averages. All else as Adam.
class AdamW : public Adam {
 public:
  AdamW(std::vector<ParameterGroup> groups, Options options) : Adam("adamw", std::move(groups), options, true) {}
  explicit AdamW(std::vector<ParameterGroup> groups) : AdamW(std::move(groups), Options{}) {}
};

}  // namespace moegrad
