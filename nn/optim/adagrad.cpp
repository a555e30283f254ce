#include "nn/optim/adagrad.h"

namespace moegrad {

Adagrad::Adagrad(std::vector<ParameterGroup> groups, Options options)
    : Optimizer("adagrad", std::move(groups), options.lr, {"sum"}, options.initial), options_(options) {
  check(options.lr_decay >= 0, "lr_decay must not be negative", options.lr_decay);
  check(options.initial >= 0, "initial must not be negative", options.initial);
  check(options.eps >= 0, "eps must not be negative", options.eps);
}

void Adagrad::update(std::span<const Updated> list, double weight_decay, const UpdateStep& at) const {
  update_all(list, AdagradRule{.eps = options_.eps, .lr_decay = options_.lr_decay, .weight_decay = weight_decay}, at);
}

}  // namespace moegrad
