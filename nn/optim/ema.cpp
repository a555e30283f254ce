#include "nn/optim/ema.h"

#include <fmt/format.h>

#include "core/autograd.h"
#include "ops/update.h"

namespace moegrad {

ParameterAverage::ParameterAverage(Module& model, double decay) : decay_(decay) {
  if (!(decay >= 0 && decay <= 1)) throw Error(fmt::format("ema: decay must be in [0, 1]; got {}", decay));
  no_grad guard;
  for (const Member& m : model.named_parameters()) {
    const Tensor average = empty_like(*m.tensor);
    average.assign(*m.tensor);
    parameters_.push_back({m.name, *m.tensor});
    averages_.push_back({m.name, average});
  }
}

void ParameterAverage::update() {
  for (std::size_t i = 0; i < averages_.size(); ++i)
    average_update(averages_[i].tensor, parameters_[i].tensor.detach(), decay_);
}

void ParameterAverage::swap() {
  no_grad guard;
  for (std::size_t i = 0; i < averages_.size(); ++i) {
    const Tensor &x = parameters_[i].tensor, &average = averages_[i].tensor;
    const Tensor kept = empty_like(x);
    kept.assign(x);
    x.assign(average);
    average.assign(kept);
  }
}

void ParameterAverage::load_state_dict(const StateDict& values) { copy_state("ema", averages_, values); }

}  // namespace moegrad
