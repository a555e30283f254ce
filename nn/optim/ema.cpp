#include "nn/optim/ema.h"

#include <fmt/format.h>

#include "core/autograd.h"
#include "ops/cast.h"
#include "ops/update.h"

namespace moegrad {
namespace {

Tensor copy(const Tensor& x, DType dtype) {
  const Tensor y = empty(x.shape(), dtype, x.device());
  y.assign(cast(x, dtype));
  return y;
}

}  // namespace

ParameterAverage::ParameterAverage(Module& model, double decay) : decay_(decay) {
  if (!(decay >= 0 && decay <= 1)) throw Error(fmt::format("ema: decay must be in [0, 1]; got {}", decay));
  no_grad guard;
  for (const Member& m : model.named_parameters()) {
    parameters_.push_back({m.name, *m.tensor});
    averages_.push_back({m.name, copy(*m.tensor, state_dtype(m.tensor->dtype()))});
  }
}

void ParameterAverage::update() {
  if (!before_.empty()) throw Error("ema: update needs the parameters; got a model that holds the averages");
  no_grad guard;
  for (std::size_t i = 0; i < averages_.size(); ++i) {
    const Tensor& average = averages_[i].tensor;
    average_update(average, cast(parameters_[i].tensor, average.dtype()), decay_);
  }
}

void ParameterAverage::swap() {
  no_grad guard;
  std::vector<Tensor> before;
  for (std::size_t i = 0; i < averages_.size(); ++i) {
    const Tensor& x = parameters_[i].tensor;
    if (before_.empty()) before.push_back(copy(x, x.dtype()));
    x.assign(before_.empty() ? cast(averages_[i].tensor, x.dtype()) : before_[i]);
  }
  before_ = std::move(before);
}

void ParameterAverage::load_state_dict(const StateDict& values) { copy_state("ema", averages_, values); }

}  // namespace moegrad
