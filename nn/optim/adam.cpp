#include "nn/optim/adam.h"

namespace moegrad {

Adam::Adam(const char* name, std::vector<ParameterGroup> groups, const Options& options, bool decoupled)
    : Optimizer(name, std::move(groups), options.lr,
                {"exp_avg", "exp_avg_sq", options.amsgrad ? "max_exp_avg_sq" : ""}),
      options_(options),
      decoupled_(decoupled) {
  check(options.beta1 >= 0 && options.beta1 < 1, "beta1 must be in [0, 1)", options.beta1);
  check(options.beta2 >= 0 && options.beta2 < 1, "beta2 must be in [0, 1)", options.beta2);
  check(options.eps >= 0, "eps must not be negative", options.eps);
}

void Adam::set_momentum(double momentum) {
  check(momentum >= 0 && momentum < 1, "beta1 must be in [0, 1)", momentum);
  options_.beta1 = momentum;
}

void Adam::update(std::span<const Updated> list, double weight_decay, const UpdateStep& at) const {
  update_all(list,
             AdamRule{.beta1 = options_.beta1,
                      .beta2 = options_.beta2,
                      .eps = options_.eps,
                      .weight_decay = weight_decay,
                      .decoupled = decoupled_,
                      .amsgrad = options_.amsgrad},
             at);
}

}  // namespace moegrad
