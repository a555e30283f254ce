#include "nn/vision/mlp.h"

#include <fmt/format.h>

namespace moegrad {
namespace {

const Mlp::Options& checked(const Mlp::Options& o) {
  if (is_gated(o.activation)) throw Error("Mlp: the activation must be one of a single tensor; got a gated one");
  if (o.hidden < 0 || o.out < 0)
    throw Error(fmt::format("Mlp: hidden and out must be >= 0; got {} and {}", o.hidden, o.out));
  return o;
}
i64 or_width(i64 size, i64 width) { return size > 0 ? size : width; }

}  // namespace

Mlp::Mlp(i64 width, Options o, Init& init)
    : options(checked(o)),
      fc1(width, or_width(o.hidden, width), init, {.bias = o.bias}),
      fc2(or_width(o.hidden, width), or_width(o.out, width), init, {.bias = o.bias}),
      dropout(o.dropout) {}

Tensor Mlp::forward(const Tensor& x, Context& context) const {
  const Tensor hidden = dropout.forward(apply(options.activation, fc1.forward(x)), context);
  return dropout.forward(fc2.forward(hidden), context);
}

void Mlp::members(Members& m) {
  m.child("fc1", fc1);
  m.child("fc2", fc2);
}

std::unique_ptr<Experts> mlp_experts(i64 experts, i64 width, const Mlp::Options& o, Init& init) {
  checked(o);
  return std::make_unique<FeedForwardExperts>(width,
                                              FeedForwardExperts::Options{.experts = experts,
                                                                          .hidden = or_width(o.hidden, width),
                                                                          .out = o.out,
                                                                          .activation = o.activation,
                                                                          .bias = o.bias,
                                                                          .output_bias = o.bias,
                                                                          .dropout = o.dropout,
                                                                          .output_dropout = o.dropout,
                                                                          .names = {.w1 = "fc1", .w2 = "fc2"}},
                                              init);
}

}  // namespace moegrad
