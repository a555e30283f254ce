#include "nn/vision/vision_transformer.h"

#include <fmt/format.h>

#include <algorithm>

#include "nn/recompute.h"
#include "ops/arithmetic.h"
#include "ops/concat.h"
#include "ops/reduce.h"
#include "ops/slice.h"
#include "ops/views.h"

namespace moegrad {

bool MoEBlocks::contains(i64 block) const {
  return is_list ? std::find(listed.begin(), listed.end(), block) != listed.end() : block >= first;
}

// ---- construction

namespace {

using Options = SoftMoEVisionTransformer::Options;

void check_pool(GlobalPool pool, bool class_token) {
  if (pool == GlobalPool::token && !class_token)
    throw Error("SoftMoEVisionTransformer: global_pool token needs a class token; got class_token = false");
}

void check_blocks(const MoEBlocks& blocks, i64 depth) {
  if (blocks.is_list && blocks.listed.empty())
    throw Error("SoftMoEVisionTransformer: moe_layer_index must name a block; got an empty list");
  const std::vector<i64> named = blocks.is_list ? blocks.listed : std::vector<i64>{blocks.first};
  for (const i64 block : named)
    if (block < 0 || block >= depth)
      throw Error(fmt::format("SoftMoEVisionTransformer: moe_layer_index must be in [0, {}); got {}", depth, block));
}

Options checked(Options o) {
  if (o.embed_dim < 1 || o.depth < 1)
    throw Error(
        fmt::format("SoftMoEVisionTransformer: embed_dim and depth must be >= 1; got {} and {}", o.embed_dim, o.depth));
  if (o.num_classes < 0)
    throw Error(fmt::format("SoftMoEVisionTransformer: num_classes must be >= 0; got {}", o.num_classes));
  if (!(o.mlp_ratio * static_cast<double>(o.embed_dim) >= 1 && o.mlp_ratio <= 1e6))
    throw Error(fmt::format("SoftMoEVisionTransformer: mlp_ratio must give a hidden width >= 1; got {} of {}",
                            o.mlp_ratio, o.embed_dim));
  if (o.num_experts < 1 || o.slots_per_expert < 1)
    throw Error(fmt::format("SoftMoEVisionTransformer: num_experts and slots_per_expert must be >= 1; got {} and {}",
                            o.num_experts, o.slots_per_expert));
  check_pool(o.global_pool, o.class_token);
  if (!o.moe_layer_index) o.moe_layer_index = MoEBlocks(o.depth / 2);
  check_blocks(*o.moe_layer_index, o.depth);
  return o;
}

PatchEmbed::Options patches_of(const Options& o) {
  return {.image = o.img_size, .patch = o.patch_size, .channels = o.in_chans, .bias = !o.pre_norm};
}

}  // namespace

SoftMoEVisionTransformer::SoftMoEVisionTransformer(Options o, Init& init)
    : options(checked(std::move(o))),
      patch_embed(options.embed_dim, patches_of(options), init),
      pos_drop(options.pos_drop_rate),
      head_drop(options.drop_rate),
      patch_drop(options.patch_drop_rate, options.class_token ? 1 : 0) {
  const i64 D = options.embed_dim;
  const bool embeds_class = options.class_token && !options.no_embed_class;
  if (options.class_token) cls_token = init.normal({1, 1, D}, options.weight_init == WeightInit::skip ? 0 : 1e-6);
  pos_embed = init.normal({1, patch_embed.patches() + (embeds_class ? 1 : 0), D}, 0.02);
  const auto make_norm = [&] { return std::make_unique<AnyNorm>(D, options.norm_layer, init); };
  if (options.pre_norm) norm_pre = make_norm();
  make_blocks(init);
  (options.fc_norm.value_or(options.global_pool == GlobalPool::avg) ? fc_norm : norm) = make_norm();
  if (options.num_classes > 0) head = std::make_unique<Linear>(D, options.num_classes, init);
  init_weights(*this, options.weight_init, options.num_classes, init);
}

void SoftMoEVisionTransformer::make_blocks(Init& init) {
  const double rate = DropPath(options.drop_path_rate).p;  // throws also where a single block would not use it
  const double last = static_cast<double>(std::max<i64>(options.depth - 1, 1));
  for (i64 i = 0; i < options.depth; ++i) {
    const FusedAttention::Options attention{.heads = options.num_heads,
                                            .qkv_bias = options.qkv_bias,
                                            .qk_norm = options.qk_norm,
                                            .dropout = options.attn_drop_rate,
                                            .output_dropout = options.proj_drop_rate,
                                            .norm = options.norm_layer};
    const VisionBlock::Options block{.attention = attention,
                                     .norm = options.norm_layer,
                                     .layer_scale = options.init_values,
                                     .drop_path = rate * static_cast<double>(i) / last};
    blocks.push_back(std::make_unique<VisionBlock>(options.embed_dim, block, make_mlp(i, init), init));
  }
}

std::unique_ptr<Layer> SoftMoEVisionTransformer::make_mlp(i64 block, Init& init) const {
  const i64 D = options.embed_dim, hidden = static_cast<i64>(static_cast<double>(D) * options.mlp_ratio);
  const Mlp::Options mlp{.hidden = hidden, .activation = options.act_layer, .dropout = options.proj_drop_rate};
  const auto make_one = [&](Init& in) -> std::unique_ptr<Layer> {
    return options.mlp_layer ? options.mlp_layer(D, hidden, in) : std::make_unique<Mlp>(D, mlp, in);
  };
  if (!options.moe_layer_index->contains(block)) return make_one(init);
  const SoftMoEWrapper::Options mixture{.experts = options.num_experts,
                                        .slots = options.slots_per_expert,
                                        .average_normalized = options.average_normalized};
  if (options.mlp_layer) return std::make_unique<SoftMoEWrapper>(D, mixture, make_one, init);
  return std::make_unique<SoftMoEWrapper>(D, mixture, mlp_experts(options.num_experts, D, mlp, init), init);
}

void SoftMoEVisionTransformer::members(Members& m) {
  const auto child = [&](const char* name, auto& module) {
    if (module) m.child(name, *module);
  };
  m.parameter("cls_token", cls_token);
  m.parameter("pos_embed", pos_embed);
  m.child("patch_embed", patch_embed);
  child("norm_pre", norm_pre);
  m.children("blocks", blocks);
  child("norm", norm);
  child("fc_norm", fc_norm);
  child("head", head);
}

// ---- forward

Tensor SoftMoEVisionTransformer::forward(const Tensor& x, Context& context) const {
  return forward_head(forward_features(x, context), context);
}

Tensor SoftMoEVisionTransformer::with_positions(const Tensor& patches, Context& context) const {
  const auto with_class = [&](const Tensor& x) {
    return cls_token ? concat({expand(cls_token, {x.dim(0), 1, x.dim(2)}), x}, 1) : x;
  };
  const Tensor x = options.no_embed_class ? with_class(patches + pos_embed) : with_class(patches) + pos_embed;
  return pos_drop.forward(x, context);
}

Tensor SoftMoEVisionTransformer::forward_features(const Tensor& images, Context& context) const {
  const Unmasked inside(context);
  Tensor x = with_positions(patch_embed.forward(images, context), context);  // [B, S, D]
  x = patch_drop.forward(x, context);
  if (norm_pre) x = norm_pre->forward(x);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const Inside here(context, "blocks", static_cast<i64>(i));
    const auto block = [&layer = *blocks[i]](const Tensor& in, Context& c) { return layer.forward(in, c); };
    x = options.grad_checkpointing ? checkpoint(block, x, context) : block(x, context);
  }
  return norm ? norm->forward(x) : x;
}

Tensor SoftMoEVisionTransformer::forward_head(const Tensor& features, Context& context, bool pre_logits) const {
  if (features.rank() != 3 || features.dim(2) != options.embed_dim || features.dim(1) < (cls_token ? 2 : 1))
    throw ShapeError(fmt::format("SoftMoEVisionTransformer: features must be [B, S, {}] with a patch; got {}",
                                 options.embed_dim, to_string(features.shape())));
  Tensor x = features;
  if (options.global_pool == GlobalPool::avg) x = mean(slice(x, 1, {cls_token ? 1 : 0, kEnd}), 1);
  if (options.global_pool == GlobalPool::token) x = select(x, 1, 0);
  if (fc_norm) x = fc_norm->forward(x);
  x = head_drop.forward(x, context);
  return head && !pre_logits ? head->forward(x) : x;
}

// ---- training

void SoftMoEVisionTransformer::reset_classifier(i64 num_classes, Init& init, std::optional<GlobalPool> pool) {
  if (num_classes < 0)
    throw Error(fmt::format("SoftMoEVisionTransformer: num_classes must be >= 0; got {}", num_classes));
  if (pool) check_pool(*pool, options.class_token);
  if (pool) options.global_pool = *pool;
  options.num_classes = num_classes;
  head = num_classes > 0 ? std::make_unique<Linear>(options.embed_dim, num_classes, init) : nullptr;
}

std::vector<std::string> SoftMoEVisionTransformer::no_weight_decay() const {
  return cls_token ? std::vector<std::string>{"cls_token", "pos_embed"} : std::vector<std::string>{"pos_embed"};
}

i64 SoftMoEVisionTransformer::layer_group(std::string_view name) const {
  const i64 depth = static_cast<i64>(blocks.size());
  for (const char* stem : {"cls_token", "pos_embed", "patch_embed.", "norm_pre."})
    if (name.starts_with(stem)) return 0;
  for (i64 i = 0; i < depth; ++i)
    if (name.starts_with(fmt::format("blocks.{}.", i))) return i + 1;
  if (name.starts_with("norm.")) return depth;
  if (name.starts_with("fc_norm.") || name.starts_with("head.")) return depth + 1;
  throw Error(fmt::format("SoftMoEVisionTransformer: layer_group must be given the name of a parameter; got {}", name));
}

// ---- sizes

namespace {

Options sized(Options o, i64 width, i64 depth, i64 heads) {
  o.embed_dim = width;
  o.depth = depth;
  o.num_heads = heads;
  return o;
}

}  // namespace

Options soft_moe_vit_tiny(Options o) { return sized(std::move(o), 192, 12, 3); }
Options soft_moe_vit_small(Options o) { return sized(std::move(o), 384, 12, 6); }
Options soft_moe_vit_base(Options o) { return sized(std::move(o), 768, 12, 12); }
Options soft_moe_vit_large(Options o) { return sized(std::move(o), 1024, 24, 16); }
Options soft_moe_vit_huge(Options o) { return sized(std::move(o), 1280, 32, 16); }

}  // namespace moegrad
