#include "nn/block.h"

#include "ops/arithmetic.h"

namespace moegrad {

Block::Block(i64 width, SelfAttention::Options options, std::unique_ptr<Layer> layer, Init& init)
    : norm1(width, init), norm2(width, init), attention(width, options, init), feed_forward(std::move(layer)) {
  if (!feed_forward) throw Error("block: it must have a feed-forward layer; got none");
}

Tensor Block::forward(const Tensor& x, Context& context) const {
  const auto inside = [&](const char* name, const Layer& layer, const Tensor& input) {
    Inside here(context, name);
    return layer.forward(input, context);
  };
  const Tensor h = x + inside("attention", attention, norm1.forward(x));
  return h + inside("feed_forward", *feed_forward, norm2.forward(h));
}

void Block::members(Members& m) {
  m.child("norm1", norm1);
  m.child("attention", attention);
  m.child("norm2", norm2);
  m.child("feed_forward", *feed_forward);
}

}  // namespace moegrad
