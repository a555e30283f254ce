// The adapters of soft-moe's layers with arguments that no stored file has.
#include <doctest/doctest.h>

#include "nn/context.h"
#include "nn/moe/soft_moe_wrapper.h"
#include "nn/transformer_encoder_layer.h"
#include "nn/vision/vision_transformer.h"
#include "tests/golden/layers.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::golden;
using namespace moegrad::test;

namespace {

LayerFile file_of(Module& module, const Tensor& x, const char* config, bool training = false) {
  return {.inputs = {{"x", x}},
          .parameters = module.state_dict(),
          .cotangents = {},
          .config = Arguments(Json::parse(config), DType::f64),
          .training = training,
          .variant = "as-is",
          .dtype = DType::f64};
}

// What the adapter of that class makes of a file with the weights of `module`.
Tensor adapted(const char* of, Module& module, const Tensor& x, const char* config) {
  LayerFile file = file_of(module, x, config);
  LayerRun run = vision_layers().at(of)(file);
  file.config.check_all_read();
  return run.outputs.at("y");
}

std::string refusal(const char* config, bool training = false) {
  Random random(1);
  Init init(random, DType::f64);
  Linear none(1, 1, init);
  LayerFile file = file_of(none, zeros({1, 2, 4}, DType::f64), config, training);
  try {
    vision_layers().at("soft-moe SoftMoELayerWrapper")(file);
  } catch (const CaseError& e) {
    return e.what();
  }
  return "none";
}

constexpr const char* kViT = "soft-moe SoftMoEVisionTransformer";
constexpr const char* kWrapper = "soft-moe SoftMoELayerWrapper";

}  // namespace

TEST_CASE("golden vision layers: every option of a transformer is read, and rates do nothing in evaluation") {
  Random random(1);
  Init init(random, DType::f64);
  SoftMoEVisionTransformer vit({.num_experts = 2,
                                .slots_per_expert = 3,
                                .moe_layer_index = MoEBlocks(std::vector<i64>{0}),
                                .img_size = {4, 6},
                                .patch_size = {2, 3},
                                .in_chans = 2,
                                .num_classes = 0,
                                .global_pool = GlobalPool::none,
                                .embed_dim = 4,
                                .depth = 2,
                                .num_heads = 2,
                                .mlp_ratio = 1.5,
                                .qkv_bias = false,
                                .qk_norm = true,
                                .init_values = 0.5,
                                .class_token = false,
                                .pre_norm = true,
                                .fc_norm = true,
                                .norm_layer = {.eps = 1e-5},
                                .act_layer = Activation::relu,
                                .average_normalized = true},
                               init);
  const Tensor x = random_tensor({2, 2, 4, 6}, 3);
  Context context;
  const Tensor got = adapted(kViT, vit, x, R"({"num_experts": 2, "slots_per_expert": 3, "moe_layer_index": [0],
    "img_size": [4, 6], "patch_size": [2, 3], "in_chans": 2, "num_classes": 0, "global_pool": "", "embed_dim": 4,
    "depth": 2, "num_heads": 2, "mlp_ratio": 1.5, "qkv_bias": false, "qk_norm": true, "init_values": 0.5,
    "class_token": false, "no_embed_class": false, "pre_norm": true, "fc_norm": true, "drop_rate": 0.1,
    "pos_drop_rate": 0.1, "patch_drop_rate": 0.1, "proj_drop_rate": 0.1, "attn_drop_rate": 0.1, "drop_path_rate": 0.1,
    "weight_init": "jax_nlhb", "norm_layer": "torch.nn.LayerNorm", "act_layer": "<class 'torch.nn.ReLU'>",
    "embed_layer": "PatchEmbed", "block_fn": "Block", "mlp_layer": "Mlp"})");
  CHECK(got.shape() == Shape{2, 4, 4});
  CHECK_LE(difference(got, vit.forward(x, context)), 1e-14);
}

TEST_CASE("golden vision layers: layer scale of 0 is none, and LayerNorm of timm has another eps than PyTorch's") {
  Random random(1);
  Init init(random, DType::f64);
  SoftMoEVisionTransformer vit({.num_experts = 1,
                                .img_size = 4,
                                .patch_size = 2,
                                .in_chans = 1,
                                .num_classes = 2,
                                .embed_dim = 4,
                                .depth = 1,
                                .num_heads = 1,
                                .mlp_ratio = 1,
                                .norm_layer = {.eps = 1e-6},
                                .average_normalized = true},
                               init);
  const Tensor x = 1e-3 * random_tensor({2, 1, 4, 4}, 3);
  Context context;
  const Tensor got = adapted(kViT, vit, x, R"({"num_experts": 1, "moe_layer_index": 0, "img_size": 4, "patch_size": 2,
    "in_chans": 1, "num_classes": 2, "embed_dim": 4, "depth": 1, "num_heads": 1, "mlp_ratio": 1, "init_values": 0.0,
    "norm_layer": "timm.layers.norm.LayerNorm"})");
  CHECK_LE(difference(got, vit.forward(x, context)), 1e-14);
}

TEST_CASE("golden vision layers: every option of the layers that a wrapper takes") {
  Random random(1);
  Init init(random, DType::f64);
  const Tensor x = random_tensor({3, 5, 4}, 3);
  Context context;
  const auto check = [&](std::unique_ptr<Experts> experts, const char* config) {
    SoftMoEWrapper moe(4, {.experts = 2, .slots = 2, .average_normalized = true}, std::move(experts), init);
    CHECK_LE(difference(adapted(kWrapper, moe, x, config), moe.forward(x, context)), 1e-14);
  };
  const auto both = [](auto make) {
    std::vector<std::unique_ptr<Layer>> list;
    for (int e = 0; e < 2; ++e) list.push_back(make());
    return std::make_unique<ModuleExperts>(std::move(list));
  };
  check(std::make_unique<LinearExperts>(4, LinearExperts::Options{.experts = 2, .out = 3, .bias = false}, init),
        R"({"dim": 4, "num_experts": 2, "slots_per_expert": 2,
            "layer": {"type": "Linear", "in_features": 4, "out_features": 3, "bias": false, "device": null}})");
  check(mlp_experts(2, 4, {.out = 3, .activation = Activation::silu, .bias = false}, init),
        R"({"dim": 4, "num_experts": 2, "slots_per_expert": 2, "normalize": true,
            "layer": {"type": "Mlp", "in_features": 4, "hidden_features": null, "out_features": 3, "act_layer": "SiLU",
                      "norm_layer": null, "bias": false, "drop": 0.5, "use_conv": false}})");
  check(both([&] {
          return std::make_unique<FusedAttention>(4, FusedAttention::Options{.heads = 4, .qkv_bias = true}, init);
        }),
        R"({"dim": 4, "num_experts": 2, "slots_per_expert": 2,
            "layer": {"type": "Attention", "dim": 4, "num_heads": 4, "qkv_bias": true, "attn_drop": 0.5,
                      "norm_layer": "nn.LayerNorm"}})");
  const TransformerEncoderLayer::Options encoder{
      .heads = 2, .hidden = 3, .activation = Activation::gelu, .eps = 1e-2, .norm_first = true, .bias = false};
  check(both([&] { return std::make_unique<TransformerEncoderLayer>(4, encoder, init); }),
        R"({"dim": 4, "num_experts": 2, "slots_per_expert": 2,
            "layer": {"type": "TransformerEncoderLayer", "d_model": 4, "nhead": 2, "dim_feedforward": 3,
                      "activation": "gelu", "layer_norm_eps": 0.01, "norm_first": true, "bias": false}})");
}

TEST_CASE("golden vision layers: what an adapter cannot do, it refuses") {
  CHECK_EQ(refusal(R"({"dim": 4, "num_experts": 2, "slots_per_expert": 2, "layer": {"type": "Conv2d"}})"),
           "experts of unknown type 'conv2d'");
  const char* with_drops = R"({"dim": 4, "num_experts": 2, "slots_per_expert": 2,
                               "layer": {"type": "Mlp", "in_features": 4, "drop": 0.5}})";
  CHECK_EQ(refusal(with_drops, true), "'drop' is 0.5 in training, and its draws are not known");
  CHECK_EQ(refusal(R"({"dim": 4, "num_experts": 2, "slots_per_expert": 2,
                       "layer": {"type": "Attention", "dim": 4, "norm_layer": "timm.layers.norm.RmsNorm"}})"),
           "unknown norm 'rmsnorm'");
  CHECK_EQ(refusal(R"({"dim": 4, "num_experts": 2, "slots_per_expert": 2,
                       "layer": {"type": "Linear", "in_features": 5, "out_features": 4}})"),
           "'in_features' must be the width 4; got 5");
  CHECK_EQ(refusal(R"({"dim": 4, "num_experts": 2, "slots_per_expert": 2,
                       "layer": {"type": "Linear", "in_features": 4, "out_features": 4, "rank": 2}})"),
           "unknown argument: rank = 2");
}
