#include "nn/vision/vision_transformer.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "nn/gradcheck.h"
#include "nn/moe/module_experts.h"
#include "nn/optim.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

ViTOptions small() {
  return {.num_experts = 2,
          .slots_per_expert = 2,
          .moe_layer_index = 1,
          .img_size = 4,
          .patch_size = 2,
          .in_chans = 1,
          .num_classes = 3,
          .embed_dim = 4,
          .depth = 2,
          .num_heads = 2,
          .mlp_ratio = 1.5,
          .weight_init = WeightInit::moco};
}

struct Made {
  Random random{5};
  Init init{random, DType::f64};
  SoftMoEVisionTransformer vit;
  explicit Made(const ViTOptions& options) : vit(options, init) {}
};

Tensor image(i64 batch = 2) { return random_tensor({batch, 1, 4, 4}, 3); }

// Every rate on.
ViTOptions noisy() {
  ViTOptions o = small();
  o.drop_rate = o.pos_drop_rate = o.proj_drop_rate = o.attn_drop_rate = 0.2;
  o.patch_drop_rate = o.drop_path_rate = 0.4;
  return o;
}

std::vector<Tensor> gradients(SoftMoEVisionTransformer& vit, const Tensor& x, Random& random) {
  Context context{.training = true, .random = &random};
  std::vector<Tensor> wanted = vit.parameters();
  wanted.push_back(x);
  const Tensor y = vit.forward(x, context);
  std::vector<Tensor> all = grad(sum(square(y)), wanted);
  all.push_back(y);
  return all;
}

}  // namespace

TEST_CASE("soft_moe_vit: the parts in their order, with every pool and norm") {
  for (const GlobalPool pool : {GlobalPool::none, GlobalPool::token, GlobalPool::avg})
    for (const bool class_token : {false, true})
      for (const bool no_embed_class : {false, true})
        for (const std::optional<bool> fc_norm : {std::optional<bool>(), std::optional(false), std::optional(true)}) {
          if (pool == GlobalPool::token && !class_token) continue;
          ViTOptions o = small();
          o.global_pool = pool, o.class_token = class_token, o.no_embed_class = no_embed_class, o.fc_norm = fc_norm;
          o.pre_norm = no_embed_class;
          Made made(o);
          const auto& vit = made.vit;
          Context c;
          const Tensor patches = vit.patch_embed.forward(image(), c);
          const i64 first = class_token && !no_embed_class ? 1 : 0;
          Tensor x = patches + slice(vit.pos_embed, 1, {first, kEnd});
          Tensor cls = class_token ? expand(vit.cls_token, {2, 1, 4}) : Tensor{};
          if (first) cls = cls + slice(vit.pos_embed, 1, {0, 1});
          if (class_token) x = concat({cls, x}, 1);
          if (o.pre_norm) x = vit.norm_pre->forward(x);
          for (const auto& block : vit.blocks) x = block->forward(x, c);
          const bool late = fc_norm.value_or(pool == GlobalPool::avg);
          CHECK_EQ(static_cast<bool>(vit.fc_norm), late);
          if (!late) x = vit.norm->forward(x);
          CHECK_LE(difference(vit.forward_features(image(), c), x), 1e-12);
          if (pool == GlobalPool::avg) x = mean(slice(x, 1, {class_token ? 1 : 0, kEnd}), 1);
          if (pool == GlobalPool::token) x = x.index({kAll, 0});
          if (late) x = vit.fc_norm->forward(x);
          CHECK_LE(difference(vit.forward_head(vit.forward_features(image(), c), c, true), x), 1e-12);
          CHECK_LE(difference(vit.forward(image(), c), vit.head->forward(x)), 1e-12);
        }
}

TEST_CASE("soft_moe_vit: gradients by differences, through mixtures, with layer scale and normed queries") {
  ViTOptions o = small();
  o.qk_norm = o.average_normalized = true;
  o.init_values = 0.5;
  Made made(o);
  made.vit.head->weight = random_tensor({3, 4}, 9);
  const GradReport report = gradcheck(made.vit,
                                      [&](const std::vector<Tensor>& in) {
                                        Context context;
                                        return made.vit.forward(in[0], context);
                                      },
                                      {image()}, {.most = 8});
  CHECK_MESSAGE(report.ok, report.text());
}

TEST_CASE("soft_moe_vit: mixtures where the index says: from a block on, in those listed, in the second half") {
  const auto where = [](std::optional<MoEBlocks> index) {
    ViTOptions o = small();
    o.depth = 5;
    o.moe_layer_index = std::move(index);
    Made made(o);
    std::string text;
    for (const auto& block : made.vit.blocks) text += dynamic_cast<SoftMoEWrapper*>(block->mlp.get()) ? 'm' : '.';
    return text;
  };
  CHECK_EQ(where(MoEBlocks(3)), "...mm");
  CHECK_EQ(where(MoEBlocks(std::vector<i64>{0, 3})), "m..m.");
  CHECK_EQ(where({}), "..mmm");
  CHECK_THROWS_WITH_AS(where(MoEBlocks(5)), "SoftMoEVisionTransformer: moe_layer_index must be in [0, 5); got 5",
                       Error);
  CHECK_THROWS_WITH_AS(where(MoEBlocks(std::vector<i64>{1, -1})),
                       "SoftMoEVisionTransformer: moe_layer_index must be in [0, 5); got -1", Error);
  CHECK_THROWS_WITH_AS(where(MoEBlocks(std::vector<i64>{})),
                       "SoftMoEVisionTransformer: moe_layer_index must name a block; got an empty list", Error);
}

TEST_CASE("soft_moe_vit: evaluation repeats itself whatever the rates; training does not; a mask is not for images") {
  Made noisy_one(noisy()), plain(small());
  plain.vit.load_state_dict(noisy_one.vit.state_dict());
  Context context, masked;
  masked.mask = zeros({2, 4}, DType::boolean);
  const Tensor y = noisy_one.vit.forward(image(), context);
  CHECK_EQ(difference(noisy_one.vit.forward(image(), context), y), 0);
  CHECK_EQ(difference(plain.vit.forward(image(), context), y), 0);
  CHECK_EQ(difference(plain.vit.forward(image(), masked), y), 0);
  Context training{.training = true, .random = &noisy_one.random};
  CHECK_GT(difference(noisy_one.vit.forward(image(), training), y), 0);
  CHECK(noisy_one.vit.forward_features(image(), training).shape() == Shape{2, 1 + 2, 4});  // 4 patches, 0.6 of them
  CHECK_EQ(noisy_one.vit.blocks[0]->drop_path.p, 0);
  CHECK_EQ(noisy_one.vit.blocks[1]->drop_path.p, 0.4);
  ViTOptions deep = noisy();
  deep.depth = 5;
  Made five(deep);
  for (std::size_t i = 0; i < 5; ++i)
    CHECK_EQ(five.vit.blocks[i]->drop_path.p, doctest::Approx(0.1 * static_cast<double>(i)));
}

TEST_CASE("soft_moe_vit: each rate acts by itself, as often as its layer occurs") {
  const auto check = [](double ViTOptions::*rate, u32 draws) {
    ViTOptions o = small();
    o.depth = 3;
    o.*rate = 0.5;
    Made made(o);
    Random random(8);
    Context training{.training = true, .random = &random}, evaluation;
    CHECK_GT(difference(made.vit.forward(image(), training), made.vit.forward(image(), evaluation)), 0);
    CHECK_EQ(random.drawn(), draws);
  };
  check(&ViTOptions::drop_rate, 1);
  check(&ViTOptions::pos_drop_rate, 1);
  check(&ViTOptions::patch_drop_rate, 1);
  check(&ViTOptions::attn_drop_rate, 3);
  check(&ViTOptions::proj_drop_rate, 3 * 3);  // of attention, of hidden values, of Mlp
  check(&ViTOptions::drop_path_rate, 2 * 2);  // both branches, not of the first block
}

TEST_CASE("soft_moe_vit: one error lists all weights that are missing, unknown or of other sizes") {
  Made made(small());
  StateDict values = made.vit.state_dict();
  const auto at = [&](const char* name) {
    return std::find_if(values.begin(), values.end(), [&](const NamedTensor& t) { return t.name == name; });
  };
  const Tensor before = made.vit.cls_token * 1;
  at("cls_token")->tensor = ones({1, 1, 4}, DType::f64);
  at("blocks.1.mlp.phi")->tensor = zeros({4, 4}, DType::f64);
  at("blocks.1.mlp.experts.1.fc1.weight")->tensor = zeros({4, 6}, DType::f64);
  at("head.weight")->name = "head.fc.weight";
  values.erase(at("blocks.1.mlp.experts.0.fc2.bias"));
  CHECK_THROWS_WITH_AS(made.vit.load_state_dict(values),
                       "load_state_dict: names, shapes and dtypes must match; got missing: "
                       "blocks.1.mlp.experts.0.fc2.bias, head.weight; unknown: head.fc.weight; different: "
                       "blocks.1.mlp.phi (f64 [4, 4], wanted f64 [4, 2, 2]), blocks.1.mlp.experts.1.fc1.weight (f64 "
                       "[4, 6], wanted f64 [6, 4])",
                       Error);
  CHECK_EQ(difference(made.vit.cls_token, before), 0);
}

TEST_CASE("soft_moe_vit: recomputed blocks give the same values, gradients and draws") {
  ViTOptions o = noisy();
  const Tensor x = image().requires_grad_();
  Made kept(o);
  o.grad_checkpointing = true;
  Made again(o);
  Random first(8), second(8);
  const std::vector<Tensor> a = gradients(kept.vit, x, first), b = gradients(again.vit, x, second);
  REQUIRE_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(a[i].to_vector<double>() == b[i].to_vector<double>());
  CHECK_EQ(first.drawn(), second.drawn());
}

TEST_CASE("soft_moe_vit: another head, groups for learning rates, what weight decay leaves alone, other layers") {
  ViTOptions o = small();
  o.pre_norm = true;
  o.fc_norm = true;
  Made made(o);
  SoftMoEVisionTransformer& vit = made.vit;
  Context context;
  vit.reset_classifier(7, made.init);
  CHECK(vit.forward(image(), context).shape() == Shape{2, 7});
  CHECK(vit.state_dict().back().tensor.shape() == Shape{7});
  vit.reset_classifier(0, made.init, GlobalPool::none);
  CHECK(vit.forward(image(), context).shape() == Shape{2, 5, 4});
  vit.reset_classifier(2, made.init, GlobalPool::avg);
  CHECK(vit.forward(image(), context).shape() == Shape{2, 2});
  CHECK(vit.no_weight_decay() == std::vector<std::string>{"cls_token", "pos_embed"});
  const auto decayed = decay_matrices(vit, 0.5, vit.no_weight_decay());
  CHECK_EQ(decayed[0].weight_decay, 0.5);
  for (const NamedTensor& t : decayed[0].parameters) CHECK((t.name != "cls_token" && t.name != "pos_embed"));
  CHECK_EQ(decayed[1].parameters[0].name, "cls_token");
  CHECK_EQ(decayed[1].parameters[1].name, "pos_embed");
  CHECK_EQ(decayed[0].parameters.size() + decayed[1].parameters.size(), vit.parameters().size());
  CHECK_THROWS_WITH_AS(decay_matrices(vit, 0.5, {"dist_token"}),
                       "decay_matrices: `without` must name parameters; got dist_token", Error);
  const std::pair<const char*, i64> groups[] = {{"cls_token", 0},
                                                {"pos_embed", 0},
                                                {"patch_embed.proj.weight", 0},
                                                {"norm_pre.weight", 0},
                                                {"blocks.0.attn.qkv.weight", 1},
                                                {"blocks.1.mlp.experts.1.fc2.bias", 2},
                                                {"norm.bias", 2},
                                                {"fc_norm.bias", 3},
                                                {"head.weight", 3}};
  for (const auto& [name, group] : groups) CHECK_EQ(vit.layer_group(name), group);
  for (const NamedTensor& t : vit.state_dict()) CHECK_GE(vit.layer_group(t.name), 0);
  CHECK_THROWS_WITH_AS(
      vit.layer_group("blocks.2.norm1.bias"),
      "SoftMoEVisionTransformer: layer_group must be given the name of a parameter; got blocks.2.norm1.bias", Error);
  o.mlp_layer = [](i64, i64 hidden, Init&) {
    CHECK_EQ(hidden, 6);
    return std::make_unique<Identity>();
  };
  Made other(o);
  CHECK(dynamic_cast<Identity*>(other.vit.blocks[0]->mlp.get()));
  CHECK(other.vit.forward(image(), context).shape() == Shape{2, 3});
}

TEST_CASE("soft_moe_vit: one pixel, one expert, no images, f32 and bf16") {
  ViTOptions o = small();
  o.num_experts = o.slots_per_expert = 1;
  o.img_size = o.patch_size = 1;
  o.depth = 1;
  o.moe_layer_index = {};
  Made made(o);
  Context context;
  const Tensor pixel = random_tensor({1, 1, 1, 1}, 4);
  const Tensor y = made.vit.forward(pixel, context);
  CHECK(y.shape() == Shape{1, 3});
  CHECK(made.vit.forward(zeros({0, 1, 1, 1}, DType::f64), context).shape() == Shape{0, 3});
  for (const auto& [dtype, tolerance] : {std::pair(DType::f32, 1e-5), std::pair(DType::bf16, 0.1)}) {
    Made other(small());
    const Tensor want = other.vit.forward(image(), context);
    other.vit.to(dtype);
    const Tensor got = other.vit.forward(cast(image(), dtype), context);
    CHECK(got.dtype() == dtype);
    CHECK_LE(difference(cast(got, DType::f64), want), tolerance);
  }
}

TEST_CASE("soft_moe_vit: wrong arguments are named") {
  const auto with = [](auto change) {
    ViTOptions o = small();
    change(o);
    return Made(o);
  };
  CHECK_THROWS_WITH_AS(with([](auto& o) { o.class_token = false; }),
                       "SoftMoEVisionTransformer: global_pool token needs a class token; got class_token = false",
                       Error);
  CHECK_THROWS_WITH_AS(with([](auto& o) { o.depth = 0; }),
                       "SoftMoEVisionTransformer: embed_dim and depth must be >= 1; got 4 and 0", Error);
  CHECK_THROWS_WITH_AS(with([](auto& o) { o.num_classes = -1; }),
                       "SoftMoEVisionTransformer: num_classes must be >= 0; got -1", Error);
  CHECK_THROWS_WITH_AS(with([](auto& o) { o.mlp_ratio = 0.2; }),
                       "SoftMoEVisionTransformer: mlp_ratio must give a hidden width >= 1; got 0.2 of 4", Error);
  CHECK_THROWS_WITH_AS(with([](auto& o) { o.num_heads = 3; }),
                       "FusedAttention: heads must divide the width; got 3 and 4", ShapeError);
  CHECK_THROWS_WITH_AS(with([](auto& o) { o.num_experts = 0; }),
                       "SoftMoEVisionTransformer: num_experts and slots_per_expert must be >= 1; got 0 and 2", Error);
  for (const i64 depth : {1, 2})
    CHECK_THROWS_WITH_AS(with([depth](auto& o) { o.drop_path_rate = 2, o.depth = depth, o.moe_layer_index = 0; }),
                         "DropPath: p must be in [0, 1]; got 2", Error);
  Made made(small());
  Context context;
  CHECK_THROWS_WITH_AS(made.vit.forward(zeros({1, 1, 4, 5}, DType::f64), context),
                       "PatchEmbed: x must be [B, 1, 4, 4]; got [1, 1, 4, 5]", ShapeError);
  CHECK_THROWS_WITH_AS(made.vit.forward_head(zeros({1, 1, 4}, DType::f64), context),
                       "SoftMoEVisionTransformer: features must be [B, S, 4] with a patch; got [1, 1, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(made.vit.reset_classifier(-2, made.init),
                       "SoftMoEVisionTransformer: num_classes must be >= 0; got -2", Error);
}
