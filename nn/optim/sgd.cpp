#include "nn/optim/sgd.h"

#include <cmath>

namespace moegrad {

SGD::SGD(std::vector<ParameterGroup> groups, Options options)
    : Optimizer("sgd", std::move(groups), options.lr, {options.momentum != 0 ? "momentum_buffer" : ""}),
      options_(options) {
  check(options.momentum >= 0 && std::isfinite(options.momentum), "momentum must be finite and not negative",
        options.momentum);
  check(!options.nesterov || options.momentum > 0, "nesterov needs a momentum above 0", options.momentum);
  check(!options.nesterov || options.dampening == 0, "nesterov takes no dampening", options.dampening);
}

void SGD::set_momentum(double momentum) {
  check(options_.momentum > 0 && momentum > 0 && std::isfinite(momentum),
        "momentum must have been, and stay, finite and above 0", momentum);
  options_.momentum = momentum;
}

void SGD::update(std::span<const Updated> list, double weight_decay, const UpdateStep& at) const {
  update_all(list,
             SgdRule{.momentum = options_.momentum,
                     .dampening = options_.dampening,
                     .weight_decay = weight_decay,
                     .nesterov = options_.nesterov},
             at);
}

}  // namespace moegrad
