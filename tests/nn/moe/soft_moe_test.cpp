#include "nn/moe/soft_moe.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "nn/gradcheck.h"
#include "nn/recompute.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

struct Setup {
  Random random{3};
  Init init{random, DType::f64};
  Context context;
};

Tensor keep(const Literal& values) { return cast(tensor(values), DType::boolean); }

// Distinct experts, and norms that are not 1.
template <class L> void randomize(L& layer) {
  u64 seed = 20;
  no_grad guard;
  for (const Member& m : layer.all_members()) m.tensor->assign(random_tensor(m.tensor->shape(), ++seed));
}

double gelu_of(double v) { return v / 2 * (1 + std::erf(v / std::sqrt(2.0))); }

// Row i of x [.., D], normalised as the layer does.
std::vector<double> normed(const GammaNorm& norm, const std::vector<double>& row) {
  const auto width = static_cast<double>(row.size());
  double square = 0, mean = 0, variance = 0;
  for (double v : row) square += v * v, mean += v / width;
  for (double v : row) variance += (v - mean) * (v - mean) / width;
  std::vector<double> y;
  for (std::size_t d = 0; d < row.size(); ++d) {
    const double g = value_at(norm.gamma, {static_cast<i64>(d)});
    y.push_back(norm.beta
                    ? (row[d] - mean) / std::sqrt(variance + 1e-5) * g + value_at(norm.beta, {static_cast<i64>(d)})
                    : row[d] / std::sqrt(square / width) * g);
  }
  return y;
}

// What expert e makes of a slot.
std::vector<double> naive_expert(const FeedForwardExperts& experts, i64 e, const std::vector<double>& slot) {
  const i64 D = experts.w1.dim(1), F = experts.w2.dim(1);
  const auto first = [&](i64 f) {
    double h = value_at(experts.b1, {e, f});
    for (i64 d = 0; d < D; ++d) h += slot[static_cast<std::size_t>(d)] * value_at(experts.w1, {e, d, f});
    return h;
  };
  std::vector<double> y;
  for (i64 d = 0; d < D; ++d) y.push_back(value_at(experts.b2, {e, d}));
  for (i64 f = 0; f < F; ++f) {
    const double h = experts.w1.dim(2) == F ? gelu_of(first(f)) : first(f) * gelu_of(first(f + F));
    for (i64 d = 0; d < D; ++d) y[static_cast<std::size_t>(d)] += h * value_at(experts.w2, {e, f, d});
  }
  return y;
}

// The layer by its definition, with the weights of its own router, which has its own tests.
Tensor naive(const MoE& moe, const GammaNorm& norm, const Tensor& x, Context& context) {
  const auto& experts = dynamic_cast<const FeedForwardExperts&>(*moe.experts);
  const i64 B = x.dim(0), N = x.dim(1), D = x.dim(2);
  Tensor tokens = zeros(x.shape(), DType::f64), y = zeros(x.shape(), DType::f64);
  for_each_index({B, N}, [&](const std::vector<i64>& i) {
    std::vector<double> row;
    for (i64 d = 0; d < D; ++d) row.push_back(value_at(x, {i[0], i[1], d}));
    row = normed(norm, row);
    for (i64 d = 0; d < D; ++d) set_value(tokens, {i[0], i[1], d}, row[static_cast<std::size_t>(d)]);
  });
  const Routing r = moe.route(tokens, context);
  for_each_index({B, r.dispatch.dim(1)}, [&](const std::vector<i64>& i) {
    std::vector<double> slot(static_cast<std::size_t>(D), 0);
    for (i64 n = 0; n < N; ++n)
      for (i64 d = 0; d < D; ++d)
        slot[static_cast<std::size_t>(d)] += value_at(r.dispatch, {i[0], i[1], n}) * value_at(tokens, {i[0], n, d});
    const std::vector<double> out = naive_expert(experts, i[1] / r.slots_per_expert(), slot);
    for (i64 n = 0; n < N; ++n)
      for (i64 d = 0; d < D; ++d)
        set_value(y, {i[0], n, d},
                  value_at(y, {i[0], n, d}) + value_at(r.combine, {i[0], i[1], n}) * out[static_cast<std::size_t>(d)]);
  });
  return y;
}

// With and without a mask, one row of which is masked throughout.
template <class L> void check_layer(L& layer) {
  randomize(layer);
  const Tensor x = random_tensor({3, 5, 4}, 1);
  for (const Tensor& mask : {Tensor{}, keep({{1, 0, 1, 1, 0}, {0, 0, 0, 0, 0}, {1, 1, 1, 1, 1}})}) {
    Context context;
    context.mask = mask;
    const Tensor y = layer.forward(x, context);
    CHECK_LE(difference(y, naive(layer, layer.norm, x, context)), 1e-12);
    if (mask) {
      CHECK_EQ(amax(abs(y[1])).item(), 0);
      CHECK_EQ(amax(abs(y.index({0, 1}))).item(), 0);
    }
    const GradReport report =
        gradcheck(layer, [&](const std::vector<Tensor>& in) { return layer.forward(in[0], context); }, {x},
                  {.order = 2, .most = 12});
    CHECK_MESSAGE(report.ok, report.text());
  }
}

}  // namespace

TEST_CASE("SoftMoE: its definition in loops and gradients to second order, with masks, for every option") {
  for (const bool geglu : {false, true})
    for (const bool use_layernorm : {false, true}) {
      CAPTURE(geglu);
      CAPTURE(use_layernorm);
      Setup s;
      SoftMoE layer(
          4, {.num_experts = 3, .num_slots = 2, .expert_mult = 1.5, .geglu = geglu, .use_layernorm = use_layernorm},
          s.init);
      check_layer(layer);
    }
  Setup s;
  SoftMoE one(4, {.num_experts = 1, .num_slots = 1, .expert_mult = 1}, s.init);
  check_layer(one);
}

TEST_CASE("DynamicSlotsSoftMoE: its definition in loops and gradients to second order, with masks") {
  for (const bool geglu : {false, true})
    for (const i64 experts : {1, 2, 5}) {
      CAPTURE(geglu);
      CAPTURE(experts);
      Setup s;
      DynamicSlotsSoftMoE layer(4, {.num_experts = experts, .expert_mult = 1.5, .geglu = geglu}, s.init);
      check_layer(layer);
    }
}

TEST_CASE("SoftMoE: images and single tokens are sequences; nothing in, nothing out") {
  Setup s;
  SoftMoE soft(4, {.num_experts = 3, .seq_len = 8, .expert_mult = 1}, s.init);
  DynamicSlotsSoftMoE dynamic(4, {.num_experts = 4, .expert_mult = 1}, s.init);
  for (const Layer* layer : {static_cast<const Layer*>(&soft), static_cast<const Layer*>(&dynamic)}) {
    const Tensor image = random_tensor({2, 4, 3, 5}, 1), rows = transpose(reshape(image, {2, 4, 15}));
    const Tensor mask =
        reshape(keep({{1, 0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 0, 0}, {1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}),
                {2, 3, 5});
    s.context.mask = mask;
    const Tensor y = layer->forward(image, s.context);
    CHECK_EQ(y.shape(), image.shape());
    CHECK_EQ(difference(transpose(reshape(y, {2, 4, 15})), layer->forward(rows, s.context)), 0);
    CHECK_EQ(value_at(y, {0, 2, 0, 1}), 0);

    s.context.mask = keep({1, 0, 1});
    const Tensor single = random_tensor({3, 4}, 2), of_single = layer->forward(single, s.context);
    CHECK_EQ(of_single.shape(), Shape{3, 4});
    CHECK_EQ(difference(unsqueeze(of_single, 1), layer->forward(unsqueeze(single, 1), s.context)), 0);
    CHECK_EQ(amax(abs(of_single[1])).item(), 0);
    s.context.mask = {};
    for (const Shape& shape : {Shape{0, 4}, Shape{0, 5, 4}, Shape{2, 0, 4}, Shape{2, 4, 0, 3}, Shape{0, 4, 2, 3}})
      CHECK_EQ(layer->forward(zeros(shape, DType::f64), s.context).shape(), shape);
  }
}

TEST_CASE("SoftMoE: names, sizes and first values are those of soft-moe-pytorch") {
  Setup s;
  const auto names = [](Module& m) {
    std::vector<std::string> list;
    for (const NamedTensor& t : m.state_dict()) list.push_back(t.name);
    return list;
  };
  SoftMoE soft(10, {.num_experts = 2, .seq_len = 9, .geglu = true, .use_layernorm = true}, s.init);
  CHECK(names(soft) ==
        std::vector<std::string>{"norm.gamma", "norm.beta", "slot_embeds", "slot_norm.gamma", "slot_norm.beta",
                                 "experts.experts.0.0.weight", "experts.experts.0.0.bias", "experts.experts.0.3.weight",
                                 "experts.experts.0.3.bias", "experts.experts.1.0.weight", "experts.experts.1.0.bias",
                                 "experts.experts.1.3.weight", "experts.experts.1.3.bias"});
  const auto& router = dynamic_cast<const SoftRouter&>(*soft.router);
  CHECK_EQ(router.phi.shape(), Shape{2, 4, 10});                 // 9 / 2 slots
  CHECK_EQ(soft.state_dict()[5].tensor.shape(), Shape{52, 10});  // 2 int(10 * 4 * 2 / 3)
  CHECK_EQ(soft.state_dict()[7].tensor.shape(), Shape{10, 26});
  SoftMoE wide(64, {.num_experts = 4, .num_slots = 8}, s.init);
  CHECK_EQ(stddev(dynamic_cast<const SoftRouter&>(*wide.router).phi).item(), doctest::Approx(1).epsilon(0.05));

  DynamicSlotsSoftMoE dynamic(10, {.num_experts = 1}, s.init);
  CHECK(names(dynamic) == std::vector<std::string>{"norm.gamma", "to_slot_embeds.0.weight", "to_slot_embeds.2.gamma",
                                                   "experts.0.0.weight", "experts.0.0.bias", "experts.0.3.weight",
                                                   "experts.0.3.bias"});
  CHECK_EQ(dynamic.state_dict()[3].tensor.shape(), Shape{40, 10});
}

TEST_CASE("SoftMoE: dropout and noise in training each come from the stream, and are off otherwise") {
  for (const auto& [dropout, noise] : {std::pair(0.5, 0.0), std::pair(0.0, 1.0)}) {
    Setup s;
    SoftMoE layer(4, {.num_experts = 3, .num_slots = 2, .dropout = dropout, .noise = {.factor = noise}}, s.init);
    DynamicSlotsSoftMoE dynamic(4, {.num_experts = 2, .dropout = dropout, .noise = {.factor = noise}}, s.init);
    const Tensor x = random_tensor({2, 6, 4}, 1);
    for (const MoE* moe : {static_cast<const MoE*>(&layer), static_cast<const MoE*>(&dynamic)}) {
      Random a(5), b(5);
      Context first{.training = true, .random = &a}, second{.training = true, .random = &b};
      const Tensor y = moe->forward(x, first), quiet = moe->forward(x, s.context);
      CHECK_EQ(a.drawn(), 1);
      CHECK_EQ(difference(y, moe->forward(x, second)), 0);
      CHECK_GT(difference(y, moe->forward(x, first)), 0.001);
      CHECK_GT(difference(y, quiet), 0.001);
      CHECK_EQ(difference(quiet, moe->forward(x, s.context)), 0);
    }
  }
}

TEST_CASE("SoftMoE: recomputed in backward, it draws the same noise and has the same gradients") {
  Setup s;
  SoftMoE layer(4, {.num_experts = 3, .num_slots = 2, .dropout = 0.5, .noise = {.factor = 1}}, s.init);
  const Tensor x = random_tensor({2, 6, 4}, 1).requires_grad_(), w = random_tensor({2, 6, 4}, 2);
  const auto gradients = [&](bool recompute) {
    Random random(5);
    Context context{.training = true, .random = &random};
    const auto run = [&](const Tensor& in, Context& c) { return layer.forward(in, c); };
    std::vector<Tensor> leaves = layer.parameters();
    leaves.push_back(x);
    return grad(sum(w * (recompute ? checkpoint(run, x, context) : run(x, context))), leaves);
  };
  const std::vector<Tensor> kept = gradients(false), again = gradients(true);
  for (std::size_t i = 0; i < kept.size(); ++i) CHECK_EQ(difference(again[i], kept[i]), 0);
  CHECK_GT(amax(abs(kept.back())).item(), 0.001);
}

TEST_CASE("SoftMoE: bf16 and f32 are near f64") {
  Setup s;
  SoftMoE soft(8, {.num_experts = 3, .num_slots = 2, .expert_mult = 2}, s.init);
  DynamicSlotsSoftMoE dynamic(8, {.num_experts = 3, .expert_mult = 2}, s.init);
  const Tensor x = cast(random_tensor({2, 6, 8}, 1), DType::bf16);
  const auto check = [&](auto& layer) {
    layer.to(DType::bf16);
    const Tensor narrow = layer.forward(x, s.context);
    layer.to(DType::f32);
    const Tensor single = layer.forward(cast(x, DType::f32), s.context);
    layer.to(DType::f64);
    const Tensor wide = layer.forward(cast(x, DType::f64), s.context);
    CHECK(narrow.dtype() == DType::bf16);
    CHECK_LE(difference(cast(narrow, DType::f64), wide), 4 * 0x1p-8);  // norm, slots, hidden and output are rounded
    CHECK_LE(difference(cast(single, DType::f64), wide), 1e-6);
  };
  check(soft);
  check(dynamic);
}

TEST_CASE("SoftMoE: what makes no sense is refused") {
  Setup s;
  const auto refused = [&](const SoftMoE::Options& o, const char* text) {
    CHECK_THROWS_WITH_AS(SoftMoE(4, o, s.init), text, Error);
  };
  refused({}, "SoftMoE: one of seq_len and num_slots must be given; got seq_len = 0, num_slots = 0");
  refused({.seq_len = 8, .num_slots = 2},
          "SoftMoE: one of seq_len and num_slots must be given; got seq_len = 8, num_slots = 2");
  refused({.seq_len = 8, .num_slots = -1},
          "SoftMoE: one of seq_len and num_slots must be given; got seq_len = 8, num_slots = -1");
  refused({.seq_len = 3}, "SoftMoE: seq_len must be >= num_experts; got seq_len = 3, num_experts = 4");
  refused({.num_experts = 0, .num_slots = 1}, "SoftMoE: num_experts must be >= 1; got 0");
  refused({.num_slots = 1, .expert_mult = 0.2},
          "SoftMoE: dim and expert_mult must give at least one hidden unit; got dim = 4, expert_mult = 0.2");
  refused({.num_slots = 1, .dropout = 1}, "dropout: p must be in [0, 1); got 1");
  refused({.num_slots = 1, .noise = {.factor = -2}}, "SoftRouter: the factor of the noise must be >= 0; got -2");
  CHECK_THROWS_WITH_AS(
      DynamicSlotsSoftMoE(4, {.expert_mult = 0}, s.init),
      "DynamicSlotsSoftMoE: dim and expert_mult must give at least one hidden unit; got dim = 4, expert_mult = 0",
      Error);

  SoftMoE soft(4, {.num_slots = 1}, s.init);
  for (const Shape& shape : {Shape{4}, Shape{2, 3, 5}, Shape{2, 5}, Shape{2, 3, 3, 4}, Shape{1, 1, 1, 1, 4}})
    CHECK_THROWS_WITH_AS(soft.forward(zeros(shape, DType::f64), s.context),
                         ("SoftMoE: x must be [B, N, 4], [B, 4] or [B, 4, H, W]; got " + to_string(shape)).c_str(),
                         ShapeError);
  s.context.mask = zeros({2, 4}, DType::boolean);
  CHECK_THROWS_WITH_AS(soft.forward(zeros({2, 3, 4}, DType::f64), s.context),
                       "SoftMoE: the context's mask must have one element for each of [2, 3]; got [2, 4]", ShapeError);
  s.context.mask = zeros({2, 3});
  DynamicSlotsSoftMoE dynamic(4, {}, s.init);
  CHECK_THROWS_WITH_AS(dynamic.forward(zeros({2, 3, 4}, DType::f64), s.context),
                       "DynamicSlotsSoftMoE: x must be bool (the context's mask); got f32", DTypeError);
}
