#include "nn/vision/weight_init.h"

#include <doctest/doctest.h>

#include <cmath>

#include "nn/vision/vision_transformer.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// What the values of a tensor tell of their distribution.
struct Spread {
  double deviation = 0, largest = 0, first = 0;
};
Spread spread(const Tensor& x) {
  const std::vector<double> values = x.to_vector<double>();
  Spread s{.first = values.front()};
  for (const double v : values) {
    s.deviation += v * v / static_cast<double>(x.size());
    s.largest = std::max(s.largest, std::abs(v));
  }
  s.deviation = std::sqrt(s.deviation);
  return s;
}

std::map<std::string, Spread> of(WeightInit scheme) {
  Random random(3);
  Init init(random);
  SoftMoEVisionTransformer vit({.num_experts = 3,
                                .img_size = 16,
                                .patch_size = 8,
                                .num_classes = 10,
                                .embed_dim = 48,
                                .depth = 2,
                                .num_heads = 3,
                                .init_values = 0.5,
                                .weight_init = scheme},
                               init);
  std::map<std::string, Spread> all;
  for (const NamedTensor& t : vit.state_dict()) all[t.name] = spread(t.tensor);
  return all;
}

// Uniform on +-sqrt(6 / (in + out)).
void check_glorot(const Spread& s, double in, double out) {
  const double bound = std::sqrt(6 / (in + out));
  CHECK_LE(s.largest, bound);
  CHECK_GT(s.largest, 0.99 * bound);
  CHECK_EQ(s.deviation, doctest::Approx(bound / std::sqrt(3)).epsilon(0.03));
}

constexpr const char* kExpert = "blocks.1.mlp.experts.2.fc1.";

}  // namespace

TEST_CASE("weight_init: timm's own scheme: matrices normal with 0.02, biases 0, the rest as it was") {
  auto all = of(WeightInit::timm);
  for (const char* name : {"blocks.0.attn.qkv.weight", "blocks.0.mlp.fc2.weight", "head.weight", "pos_embed"})
    CHECK_EQ(all[name].deviation, doctest::Approx(0.02).epsilon(0.1));
  CHECK_EQ(all[std::string(kExpert) + "weight"].deviation, doctest::Approx(0.02).epsilon(0.05));
  for (const char* name : {"blocks.0.attn.qkv.bias", "blocks.0.mlp.fc1.bias", "head.bias", "norm.bias"})
    CHECK_EQ(all[name].largest, 0);
  CHECK_EQ(all[std::string(kExpert) + "bias"].largest, 0);
  CHECK_EQ(all["patch_embed.proj.weight"].deviation, doctest::Approx(1 / std::sqrt(3.0 * 192)).epsilon(0.03));
  CHECK_GT(all["patch_embed.proj.bias"].largest, 0);
  CHECK_EQ(all["blocks.1.mlp.phi"].deviation, doctest::Approx(1 / std::sqrt(48.0)).epsilon(0.2));
  CHECK_EQ(all["blocks.1.ls1.gamma"].largest, 0.5);
  CHECK_EQ(all["norm.weight"].deviation, doctest::Approx(1));
  CHECK_LT(all["cls_token"].largest, 1e-5);
}

TEST_CASE("weight_init: jax: Glorot, tiny biases in mlps, a cut normal patch embedding, a head of zeros") {
  for (const WeightInit scheme : {WeightInit::jax, WeightInit::jax_nlhb}) {
    auto all = of(scheme);
    check_glorot(all["blocks.0.attn.qkv.weight"], 48, 144);
    check_glorot(all["blocks.0.mlp.fc1.weight"], 48, 192);
    check_glorot(all[std::string(kExpert) + "weight"], 48, 192);
    CHECK_EQ(all[std::string(kExpert) + "bias"].deviation, doctest::Approx(1e-6).epsilon(0.3));
    CHECK_EQ(all["blocks.0.attn.proj.bias"].largest, 0);
    CHECK_EQ(all["patch_embed.proj.weight"].deviation, doctest::Approx(1 / std::sqrt(192.0)).epsilon(0.03));
    CHECK_LE(all["patch_embed.proj.weight"].largest, 2 / 0.8796 / std::sqrt(192.0));
    CHECK_EQ(all["patch_embed.proj.bias"].largest, 0);
    CHECK_EQ(all["head.weight"].largest, 0);
    CHECK_EQ(all["head.bias"].first, doctest::Approx(scheme == WeightInit::jax ? 0 : -std::log(10.0)));
    CHECK_EQ(all["head.bias"].largest, doctest::Approx(scheme == WeightInit::jax ? 0 : std::log(10.0)));
  }
}

TEST_CASE("weight_init: moco counts q, k and v apart; skip leaves PyTorch's; names; shapes only") {
  auto moco = of(WeightInit::moco), skip = of(WeightInit::skip);
  check_glorot(moco["blocks.0.attn.qkv.weight"], 48, 48);
  check_glorot(moco["blocks.0.attn.proj.weight"], 48, 48);
  check_glorot(moco["blocks.0.mlp.fc2.weight"], 192, 48);
  CHECK_EQ(moco["head.bias"].largest, 0);
  CHECK_EQ(moco["blocks.0.mlp.fc2.bias"].largest, 0);
  CHECK_EQ(skip["cls_token"].largest, 0);
  CHECK_EQ(skip["pos_embed"].deviation, doctest::Approx(0.02).epsilon(0.1));
  CHECK_GT(moco["cls_token"].largest, 0);
  CHECK_LE(skip["blocks.0.attn.qkv.weight"].largest, 1 / std::sqrt(48.0));
  CHECK_GT(skip["blocks.0.attn.qkv.weight"].largest, 0.99 / std::sqrt(48.0));
  CHECK_GT(skip["blocks.0.attn.qkv.bias"].largest, 0.9 / std::sqrt(48.0));
  CHECK(weight_init_by_name("") == WeightInit::timm);
  CHECK(weight_init_by_name("jax_nlhb") == WeightInit::jax_nlhb);
  CHECK_THROWS_WITH_AS(weight_init_by_name("he"), "weight_init: must be empty, jax, jax_nlhb, moco or skip; got he",
                       Error);
}
