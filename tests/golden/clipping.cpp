// Gradient clipping: gradients before and after, and their norm.
#include <fmt/format.h>

#include "core/autograd.h"
#include "nn/optim/clip.h"
#include "ops/cast.h"
#include "tests/golden/run.h"

namespace moegrad::golden {

void run_clipping(Bundle& bundle, const Case& c, Comparison& comparison) {
  std::vector<Tensor> parameters;  // each with the gradient that the file gives
  for (int i = 0; bundle.has(fmt::format("{}.in.{}", c.name, i)); ++i) {
    const Tensor gradient = bundle.take(fmt::format("{}.in.{}", c.name, i));
    parameters.push_back(zeros_like(gradient).requires_grad_());
    backward(alias(parameters.back()), gradient);
  }
  Arguments args(c.args, bundle.dtype());
  if (c.op == "clip_norm") {
    const Clip clip = clip_grad_norm(parameters, args.number("max_norm"), args.number("norm_type", 2));
    scale_gradients(parameters, clip.scale);
    comparison.check("total_norm", cast(clip.norm, bundle.dtype()), bundle.take(c.name + ".total_norm"));
  } else if (c.op == "clip_value") {
    clip_grad_value(parameters, args.number("clip_value"));
  } else {
    throw CaseError(fmt::format("unknown clipping '{}'", c.op));
  }
  args.check_all_read();
  for (std::size_t i = 0; i < parameters.size(); ++i)
    comparison.check(fmt::format("out.{}", i), parameters[i].grad(), bundle.take(fmt::format("{}.out.{}", c.name, i)));
}

}  // namespace moegrad::golden
