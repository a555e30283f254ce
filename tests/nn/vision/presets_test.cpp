// The sizes of the paper's models, counted without their weights. The numbers are those of soft-moe's own classes.
#include <doctest/doctest.h>

#include "nn/vision/vision_transformer.h"

using namespace moegrad;

namespace {

struct Count {
  i64 total = 0, phi = 0, scale = 0, experts = 0, dense = 0, attention = 0, other = 0, tensors = 0;
  bool operator==(const Count&) const = default;
};

Count count(const ViTOptions& options) {
  const i64 before = memory::stats().current_bytes;
  Init init = Init::shapes_only();
  SoftMoEVisionTransformer vit(options, init);
  CHECK_LT(memory::stats().current_bytes - before, 1 << 20);
  Count c{.total = vit.parameter_count()};
  for (const NamedTensor& t : vit.state_dict()) {
    const auto has = [&](const char* part) { return t.name.find(part) != std::string::npos; };
    (has(".phi")        ? c.phi
     : has(".scale")    ? c.scale
     : has(".experts.") ? c.experts
     : has(".mlp.")     ? c.dense
     : has(".attn.")    ? c.attention
                        : c.other) += t.tensor.size();
    ++c.tensors;
  }
  return c;
}

}  // namespace

TEST_CASE("soft_moe_vit: parameters of tiny, small, base, large and huge, by kind, without memory for them") {
  CHECK(count(soft_moe_vit_tiny()) == Count{231319342, 147456, 6, 227229696, 1775232, 1778688, 388264, 3212});
  CHECK(count(soft_moe_vit_small()) == Count{922700398, 294912, 6, 907444224, 7089408, 7096320, 775528, 3212});
  CHECK(count(soft_moe_vit_base()) == Count{3685650670, 589824, 6, 3626827776, 28334592, 28348416, 1550056, 3212});
  CHECK(count(soft_moe_vit_large()) ==
        Count{13097940980, 1572864, 12, 12892766208, 100724736, 100761600, 2115560, 6416});
  CHECK(count(soft_moe_vit_huge()) ==
        Count{27281656056, 2621440, 16, 26856652800, 209817600, 209879040, 2685160, 8552});
  CHECK(count(soft_moe_vit_tiny({.num_experts = 64, .slots_per_expert = 2, .img_size = 128})) ==
        Count{117679150, 147456, 6, 113614848, 1775232, 1778688, 362920, 1676});
}

TEST_CASE("soft_moe_vit: widths, depths, heads and the first mixture of every size") {
  const auto check = [](const ViTOptions& options, i64 width, i64 depth, i64 heads, i64 first) {
    Init init = Init::shapes_only();
    SoftMoEVisionTransformer vit(options, init);
    REQUIRE_EQ(vit.blocks.size(), static_cast<std::size_t>(depth));
    for (i64 i = 0; i < depth; ++i) {
      const VisionBlock& block = *vit.blocks[static_cast<std::size_t>(i)];
      CHECK_EQ(block.attn.options.heads, heads);
      CHECK_EQ(block.attn.qkv.weight.shape(), Shape{3 * width, width});
      CHECK_EQ(dynamic_cast<const SoftMoEWrapper*>(block.mlp.get()) != nullptr, i >= first);
    }
    CHECK_EQ(vit.pos_embed.shape(), Shape{1, 14 * 14 + 1, width});
    CHECK_EQ(vit.head->weight.shape(), Shape{1000, width});
  };
  check(soft_moe_vit_tiny(), 192, 12, 3, 6);
  check(soft_moe_vit_small(), 384, 12, 6, 6);
  check(soft_moe_vit_base(), 768, 12, 12, 6);
  check(soft_moe_vit_large(), 1024, 24, 16, 12);
  check(soft_moe_vit_huge(), 1280, 32, 16, 16);
}

TEST_CASE("soft_moe_vit: names and shapes in PyTorch's order") {
  Init init = Init::shapes_only();
  SoftMoEVisionTransformer vit({.num_experts = 2,
                                .slots_per_expert = 3,
                                .moe_layer_index = 1,
                                .img_size = 16,
                                .patch_size = 4,
                                .num_classes = 5,
                                .embed_dim = 12,
                                .depth = 2,
                                .num_heads = 3},
                               init);
  std::vector<std::pair<std::string, Shape>> want{{"cls_token", {1, 1, 12}},
                                                  {"pos_embed", {1, 17, 12}},
                                                  {"patch_embed.proj.weight", {12, 3, 4, 4}},
                                                  {"patch_embed.proj.bias", {12}}};
  const auto add_mlp = [&](const std::string& path) {
    want.insert(want.end(), {{path + ".fc1.weight", {48, 12}},
                             {path + ".fc1.bias", {48}},
                             {path + ".fc2.weight", {12, 48}},
                             {path + ".fc2.bias", {12}}});
  };
  const auto add_attention = [&](const std::string& block) {
    want.insert(want.end(), {{block + ".norm1.weight", {12}},
                             {block + ".norm1.bias", {12}},
                             {block + ".attn.qkv.weight", {36, 12}},
                             {block + ".attn.qkv.bias", {36}},
                             {block + ".attn.proj.weight", {12, 12}},
                             {block + ".attn.proj.bias", {12}},
                             {block + ".norm2.weight", {12}},
                             {block + ".norm2.bias", {12}}});
  };
  add_attention("blocks.0");
  add_mlp("blocks.0.mlp");
  add_attention("blocks.1");
  want.insert(want.end(), {{"blocks.1.mlp.phi", {12, 2, 3}}, {"blocks.1.mlp.scale", {1}}});
  add_mlp("blocks.1.mlp.experts.0");
  add_mlp("blocks.1.mlp.experts.1");
  want.insert(want.end(), {{"norm.weight", {12}}, {"norm.bias", {12}}, {"head.weight", {5, 12}}, {"head.bias", {5}}});
  const StateDict state = vit.state_dict();
  REQUIRE_EQ(state.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    CHECK_EQ(state[i].name, want[i].first);
    CHECK(state[i].tensor.shape() == want[i].second);
  }
}
