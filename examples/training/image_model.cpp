#include "examples/training/image_model.h"

#include "nn/context.h"
#include "nn/vision/weight_init.h"
#include "ops/arithmetic.h"
#include "ops/reduce.h"

namespace examples {

ImageModel::ImageModel(const Options& o, const MakeLayer& make, Init& init)
    : patches(o.model_width, {.image = {o.height, o.width}, .patch = o.patch, .channels = o.channels}, init),
      positions(init.normal({1, patches.patches(), o.model_width}, 0.02)),
      norm(o.model_width, {}, init),
      head(o.model_width, o.classes, init) {
  const VisionBlock::Options block{.attention = {.heads = o.heads, .qkv_bias = true, .output_dropout = o.dropout}};
  for (i64 i = 0; i < o.layers; ++i)
    blocks.push_back(std::make_unique<VisionBlock>(o.model_width, block, make(i, init), init));
  init_weights(*this, WeightInit::jax, o.classes, init);
}

Tensor ImageModel::forward(const Tensor& images, Context& context) const {
  Tensor x = patches.forward(images, context) + positions;  // [B, S, D]
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const Inside here(context, "blocks", static_cast<i64>(i));
    x = blocks[i]->forward(x, context);
  }
  return head.forward(norm.forward(mean(x, 1)));
}

void ImageModel::members(Members& m) {
  m.child("patches", patches);
  m.parameter("positions", positions);
  m.children("blocks", blocks);
  m.child("norm", norm);
  m.child("head", head);
}

}  // namespace examples
