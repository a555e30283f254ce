#include "nn/vision/block.h"

#include "ops/arithmetic.h"

namespace moegrad {

Tensor LayerScale::forward(const Tensor& x) const { return x * gamma; }

VisionBlock::VisionBlock(i64 width, Options o, std::unique_ptr<Layer> layer, Init& init)
    : norm1(width, o.norm, init),
      norm2(width, o.norm, init),
      attn(width, o.attention, init),
      mlp(std::move(layer)),
      drop_path(o.drop_path) {
  if (!mlp) throw Error("VisionBlock: it must have an mlp; got none");
  if (!o.layer_scale) return;
  ls1 = std::make_unique<LayerScale>(width, *o.layer_scale, init);
  ls2 = std::make_unique<LayerScale>(width, *o.layer_scale, init);
}

Tensor VisionBlock::forward(const Tensor& x, Context& context) const {
  const auto branch = [&](const char* name, const Layer& layer, const LayerScale* scale, const Tensor& in) {
    const Inside here(context, name);
    const Tensor y = layer.forward(in, context);
    return drop_path.forward(scale ? scale->forward(y) : y, context);
  };
  const Tensor h = x + branch("attn", attn, ls1.get(), norm1.forward(x));
  return h + branch("mlp", *mlp, ls2.get(), norm2.forward(h));
}

void VisionBlock::members(Members& m) {
  m.child("norm1", norm1);
  m.child("attn", attn);
  if (ls1) m.child("ls1", *ls1);
  m.child("norm2", norm2);
  m.child("mlp", *mlp);
  if (ls2) m.child("ls2", *ls2);
}

}  // namespace moegrad
