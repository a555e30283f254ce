#include "nn/optim/lion.h"

namespace moegrad {

Lion::Lion(std::vector<ParameterGroup> groups, Options options)
    : Optimizer("lion", std::move(groups), options.lr, {"exp_avg"}), options_(options) {
  check(options.beta1 >= 0 && options.beta1 < 1, "beta1 must be in [0, 1)", options.beta1);
  check(options.beta2 >= 0 && options.beta2 < 1, "beta2 must be in [0, 1)", options.beta2);
}

void Lion::update(std::span<const Updated> list, double weight_decay, const UpdateStep& at) const {
  update_all(list, LionRule{.beta1 = options_.beta1, .beta2 = options_.beta2, .weight_decay = weight_decay}, at);
}

}  // namespace moegrad
