#include "nn/optim/rmsprop.h"

#include <cmath>

namespace moegrad {

RMSprop::RMSprop(std::vector<ParameterGroup> groups, Options options)
    : Optimizer("rmsprop", std::move(groups), options.lr,
                {"square_avg", options.centered ? "grad_avg" : "", options.momentum != 0 ? "momentum_buffer" : ""}),
      options_(options) {
  check(options.alpha >= 0 && options.alpha <= 1, "alpha must be in [0, 1]", options.alpha);
  check(options.momentum >= 0 && std::isfinite(options.momentum), "momentum must be finite and not negative",
        options.momentum);
  check(options.eps >= 0, "eps must not be negative", options.eps);
}

void RMSprop::set_momentum(double momentum) {
  check(options_.momentum > 0 && momentum > 0 && std::isfinite(momentum),
        "momentum must have been, and stay, finite and above 0", momentum);
  options_.momentum = momentum;
}

void RMSprop::update(std::span<const Updated> list, double weight_decay, const UpdateStep& at) const {
  update_all(list,
             RmspropRule{.alpha = options_.alpha,
                         .eps = options_.eps,
                         .momentum = options_.momentum,
                         .weight_decay = weight_decay,
                         .centered = options_.centered},
             at);
}

}  // namespace moegrad
