#include "nn/moe/sparse_moe_block.h"

#include <fmt/format.h>

#include "ops/ops.h"

namespace moegrad {
namespace {

i64 hidden_of(i64 width, double mult) {
  const i64 hidden = st_hidden(width, mult);
  if (hidden < 1)
    throw Error(fmt::format(
        "StFeedForward: the hidden size, 2/3 hidden_mult width, must be >= 1; got hidden_mult {} and width {}", mult,
        width));
  return hidden;
}

const StMoE& given(const std::unique_ptr<StMoE>& moe) {
  if (!moe) throw Error("SparseMoEBlock: it must have a mixture; got none");
  return *moe;
}

}  // namespace

StFeedForward::StFeedForward(i64 width, Init& init, double hidden_mult)
    : norm(width, GammaNorm::Kind::rms, init),
      w1(width, 2 * hidden_of(width, hidden_mult), init),
      w2(st_hidden(width, hidden_mult), width, init),
      mult_bias(init.ones({st_hidden(width, hidden_mult)})) {
  for (Linear* w : {&w1, &w2}) {
    const i64 outputs = w->weight.dim(0);
    w->weight = st_initial(init, w->weight.shape(), outputs);
    w->bias = st_initial(init, {outputs}, outputs);
  }
}

Tensor StFeedForward::forward(const Tensor& x, Context&) const {
  const std::vector<Tensor> halves = chunk(w1.forward(norm.forward(x)), 2, -1);
  return w2.forward(apply(Activation::geglu, halves[1], halves[0]) * mult_bias);
}

void StFeedForward::members(Members& m) {
  m.child("net.0", norm);
  m.child("net.1", w1);
  m.parameter("net.2.mult_bias", mult_bias);
  m.child("net.3", w2);
}

SparseMoEBlock::SparseMoEBlock(i64 width, Options o, Init& init)
    : SparseMoEBlock(std::make_unique<StMoE>(width, o.moe, init), o, init) {}

SparseMoEBlock::SparseMoEBlock(std::unique_ptr<StMoE> layer, Options o, Init& init)
    : moe(std::move(layer)), moe_prenorm(given(moe).width, GammaNorm::Kind::rms, init) {
  if (o.ff_before) ff_before = std::make_unique<StFeedForward>(moe->width, init);
  if (o.ff_after) ff_after = std::make_unique<StFeedForward>(moe->width, init);
}

Tensor SparseMoEBlock::forward(const Tensor& x_any, Context& context) const {
  Tensor x = x_any;
  if (ff_before) x = x + ff_before->forward(x, context);
  {
    const Inside here(context, "moe");
    x = x + moe->forward(moe_prenorm.forward(x), context);
  }
  return ff_after ? x + ff_after->forward(x, context) : x;
}

void SparseMoEBlock::members(Members& m) {
  m.child("moe", *moe);
  m.child("moe_prenorm", moe_prenorm);
  if (ff_before) m.child("ff_before", *ff_before);
  if (ff_after) m.child("ff_after", *ff_after);
}

}  // namespace moegrad
