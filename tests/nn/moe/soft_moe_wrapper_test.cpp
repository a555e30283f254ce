#include "nn/moe/soft_moe_wrapper.h"

#include <doctest/doctest.h>

#include <cmath>

#include "nn/gradcheck.h"
#include "nn/transformer_encoder_layer.h"
#include "nn/vision/attention.h"
#include "nn/vision/mlp.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

constexpr i64 B = 2, N = 5, D = 4, E = 3, C = 2;

struct LinearLayer : Layer {
  LinearLayer(i64 out, Init& init) : linear(D, out, init) {}
  Tensor forward(const Tensor& x, Context&) const override { return linear.forward(x); }
  void members(Members& m) override { m.child("", linear); }
  Linear linear;
};

struct Made {
  Random random{5};
  Init init{random, DType::f64};
  MakeLayer linear(i64 out) {
    return [out](Init& in) { return std::make_unique<LinearLayer>(out, in); };
  }
};

const SoftRouter& router_of(const SoftMoEWrapper& moe) { return dynamic_cast<const SoftRouter&>(*moe.router); }

double length(const Tensor& x, std::vector<i64> at, int axis, i64 n) {
  double square = 0;
  for (i64 i = 0; i < n; ++i) {
    at[static_cast<std::size_t>(axis)] = i;
    square += value_at(x, at) * value_at(x, at);
  }
  return std::sqrt(square);
}

// Algorithm 1 of the paper in loops, with linear experts of width `out`; true in `keep` where a row is a token.
Tensor naive(const SoftMoEWrapper& moe, const Tensor& x, i64 out, const std::vector<std::vector<bool>>& keep) {
  const SoftRouter& r = router_of(moe);
  const auto& experts = dynamic_cast<const ModuleExperts&>(*moe.experts);
  const auto& o = moe.options;
  Tensor y = zeros({B, N, out}, DType::f64);
  for (i64 b = 0; b < B; ++b) {
    const auto token = [&](i64 n) { return keep[static_cast<std::size_t>(b)][static_cast<std::size_t>(n)]; };
    double weight[N][E][C], over_tokens[E][C] = {}, over_slots[N] = {};
    for (i64 n = 0; n < N; ++n)
      for (i64 e = 0; e < E; ++e)
        for (i64 c = 0; c < C; ++c) {
          double logit = 0;
          for (i64 d = 0; d < D; ++d) logit += value_at(x, {b, n, d}) * value_at(r.phi, {d, e, c});
          if (o.normalize) logit *= r.scale.item() / length(x, {b, n, 0}, 2, D) / length(r.phi, {0, e, c}, 0, D);
          weight[n][e][c] = token(n) ? std::exp(logit) : 0;
          over_tokens[e][c] += weight[n][e][c];
          over_slots[n] += weight[n][e][c];
        }
    for (i64 e = 0; e < E; ++e)
      for (i64 c = 0; c < C; ++c) {
        double slot[D] = {};
        for (i64 n = 0; n < N; ++n)
          for (i64 d = 0; d < D; ++d)
            if (token(n))
              slot[d] += weight[n][e][c] / over_tokens[e][c] * value_at(x, {b, n, d}) /
                         (o.average_normalized && o.normalize ? length(x, {b, n, 0}, 2, D) : 1);
        const Linear& expert = dynamic_cast<const LinearLayer&>(*experts.layers[static_cast<std::size_t>(e)]).linear;
        for (i64 j = 0; j < out; ++j) {
          double given = value_at(expert.bias, {j});
          for (i64 d = 0; d < D; ++d) given += value_at(expert.weight, {j, d}) * slot[d];
          for (i64 n = 0; n < N; ++n)
            if (token(n)) set_value(y, {b, n, j}, value_at(y, {b, n, j}) + weight[n][e][c] / over_slots[n] * given);
        }
      }
  }
  return y;
}

std::unique_ptr<SoftMoEWrapper> linear_wrapper(Made& made, bool normalized, bool averages, i64 out) {
  auto moe = std::make_unique<SoftMoEWrapper>(
      D, SoftMoEWrapper::Options{.experts = E, .slots = C, .normalize = normalized, .average_normalized = averages},
      made.linear(out), made.init);
  if (Tensor& scale = dynamic_cast<SoftRouter&>(*moe->router).scale) scale = tensor({1.7}, DType::f64);
  return moe;
}

GradReport check(SoftMoEWrapper& moe, const Tensor& x, const Tensor& mask, int order) {
  return gradcheck(moe,
                   [&](const std::vector<Tensor>& in) {
                     Context context;
                     context.mask = mask;
                     return moe.forward(in[0], context);
                   },
                   {x}, {.order = order, .most = 20});
}

}  // namespace

TEST_CASE("SoftMoEWrapper: algorithm 1 in loops, normalised or not, with a mask, another width and its gradients") {
  const Tensor x = random_tensor({B, N, D}, 3);
  const std::vector<std::vector<bool>> all(B, std::vector<bool>(N, true)),
      some{{true, false, true, true, false}, {true, true, true, false, true}};
  const Tensor mask = tensor({{1, 0, 1, 1, 0}, {1, 1, 1, 0, 1}}, DType::boolean);
  for (const auto& [normalized, averages] : {std::pair(true, false), std::pair(true, true), std::pair(false, false)})
    for (const bool masked : {false, true}) {
      CAPTURE(normalized);
      CAPTURE(averages);
      CAPTURE(masked);
      Made made;
      const auto moe = linear_wrapper(made, normalized, averages, 5);
      Context context;
      if (masked) context.mask = mask;
      CHECK_LE(difference(moe->forward(x, context), naive(*moe, x, 5, masked ? some : all)), 1e-12);
      const GradReport report = check(*moe, x, masked ? mask : Tensor{}, 2);
      CHECK_MESSAGE(report.ok, report.text());
    }
}

TEST_CASE("SoftMoEWrapper: batched Mlp experts are Mlp layers one by one, under the same names, to order 2") {
  Made made;
  const SoftMoEWrapper::Options options{.experts = E, .slots = C};
  const Mlp::Options mlp{.hidden = 3, .out = 6};
  SoftMoEWrapper batched(D, options, mlp_experts(E, D, mlp, made.init), made.init);
  SoftMoEWrapper separate(
      D, options, [&](Init& in) { return std::make_unique<Mlp>(D, mlp, in); }, made.init);
  const StateDict state = batched.state_dict();
  separate.load_state_dict(state);
  const StateDict same = separate.state_dict();
  REQUIRE_EQ(state.size(), 2 + 4 * E);
  for (std::size_t i = 0; i < state.size(); ++i) CHECK_EQ(state[i].name, same[i].name);
  CHECK_EQ(state[1].name, "scale");
  CHECK_EQ(state[6].name, "experts.1.fc1.weight");
  Context context;
  const Tensor x = random_tensor({B, N, D}, 3);
  const Tensor y = batched.forward(x, context);
  CHECK(y.shape() == Shape{B, N, 6});
  CHECK_LE(difference(y, separate.forward(x, context)), 1e-12);
  const GradReport report = check(batched, x, {}, 2);
  CHECK_MESSAGE(report.ok, report.text());
}

TEST_CASE("SoftMoEWrapper: attention and encoder experts see the slots of one expert; gradients by differences") {
  Made made;
  const SoftMoEWrapper::Options options{.experts = 2, .slots = 3};
  const Tensor x = random_tensor({B, N, D}, 3);
  SoftMoEWrapper attention(
      D, options,
      [&](Init& in) {
        return std::make_unique<FusedAttention>(D, FusedAttention::Options{.heads = 2, .qk_norm = true}, in);
      },
      made.init);
  const GradReport first = check(attention, x, {}, 2);
  CHECK_MESSAGE(first.ok, first.text());
  for (const bool batch_first : {true, false}) {
    SoftMoEWrapper encoder(
        D, options,
        [&](Init& in) {
          return std::make_unique<TransformerEncoderLayer>(
              D,
              TransformerEncoderLayer::Options{
                  .heads = 2, .hidden = 3, .activation = Activation::gelu, .batch_first = batch_first},
              in);
        },
        made.init);
    const GradReport second = check(encoder, x, {}, 1);
    CHECK_MESSAGE(second.ok, second.text());
    // A row of the batch by itself is what it is among others, unless attention is over the batch.
    Context context;
    const Tensor alone = encoder.forward(slice(x, 0, {0, 1}), context), among = encoder.forward(x, context);
    const double apart = difference(alone, slice(among, 0, {0, 1}));
    CHECK((batch_first ? apart < 1e-12 : apart > 1e-6));
  }
}

TEST_CASE("SoftMoEWrapper: rows that are masked throughout, one token, one slot, no rows, f32 and bf16") {
  Made made;
  const auto moe = linear_wrapper(made, true, false, D);
  Context context;
  context.mask = tensor({{0, 0, 0, 0, 0}, {1, 1, 0, 1, 1}}, DType::boolean);
  const Tensor x = random_tensor({B, N, D}, 3).requires_grad_();
  const Tensor y = moe->forward(x, context), dx = grad(sum(y), {x})[0];
  CHECK_EQ(amax(abs(y[0])).item(), 0);
  CHECK_EQ(amax(abs(dx[0])).item(), 0);
  CHECK_GT(amax(abs(dx[1])).item(), 0);
  Context plain;
  CHECK(moe->forward(zeros({0, N, D}, DType::f64), plain).shape() == Shape{0, N, D});
  SoftMoEWrapper one(D, {.experts = 1, .slots = 1}, made.linear(3), made.init);
  const Tensor single = random_tensor({1, 1, D}, 4);  // its slot is the token itself
  const auto& expert = dynamic_cast<const LinearLayer&>(*dynamic_cast<const ModuleExperts&>(*one.experts).layers[0]);
  CHECK_LE(difference(one.forward(single, plain), expert.linear.forward(single)), 1e-12);
  const Tensor wanted = moe->forward(x.detach(), plain);
  for (const auto& [dtype, tolerance] : {std::pair(DType::f32, 1e-5), std::pair(DType::bf16, 0.05)}) {
    moe->to(dtype);
    const Tensor got = moe->forward(cast(x.detach(), dtype), plain);
    CHECK(got.dtype() == dtype);
    CHECK_LE(difference(cast(got, DType::f64), wanted), tolerance);
  }
}

TEST_CASE("SoftMoEWrapper: a shared layer is one of its members") {
  Made made;
  const auto moe = linear_wrapper(made, true, true, D);
  const std::size_t without = moe->parameters().size();
  moe->shared = std::make_unique<AsLayer<Linear>>(D, D, made.init);
  CHECK_EQ(moe->parameters().size(), without + 2);
  CHECK_EQ(moe->state_dict().back().name, "shared.bias");
}

TEST_CASE("SoftMoEWrapper: wrong arguments are named") {
  Made made;
  CHECK_THROWS_WITH_AS(SoftMoEWrapper(D, {.experts = 0}, made.linear(D), made.init),
                       "SoftRouter: experts and slots must be >= 1; got experts = 0, slots = 1", Error);
  CHECK_THROWS_WITH_AS(SoftMoEWrapper(D, {}, MakeLayer{}, made.init),
                       "SoftMoEWrapper: it must have something that makes layers; got none", Error);
  CHECK_THROWS_WITH_AS(SoftMoEWrapper(D, {}, std::unique_ptr<Experts>{}, made.init),
                       "MoE: it must have a router and experts; got no experts", Error);
  const auto moe = linear_wrapper(made, true, true, D);
  Context context;
  // One expert's weights would broadcast.
  const SoftMoEWrapper few(D, {.experts = 4},
                           std::make_unique<LinearExperts>(D, LinearExperts::Options{.experts = 1}, made.init),
                           made.init);
  CHECK_THROWS_WITH_AS(few.forward(zeros({2, 3, D}, DType::f64), context),
                       "LinearExperts: the routing must have as many experts; got 1 experts and a routing of 4",
                       ShapeError);
  const SoftMoEWrapper many(
      D, {.experts = 4}, std::make_unique<FeedForwardExperts>(D, FeedForwardExperts::Options{.experts = 1}, made.init),
      made.init);
  CHECK_THROWS_WITH_AS(many.forward(zeros({2, 3, D}, DType::f64), context),
                       "FeedForwardExperts: the routing must have as many experts; got 1 experts and a routing of 4",
                       ShapeError);
  CHECK_THROWS_WITH_AS(moe->forward(zeros({D}, DType::f64), context), "MoE: x must be [.., N, D]; got [4]", ShapeError);
  CHECK_THROWS_WITH_AS(moe->forward(zeros({2, 3, 5}, DType::f64), context),
                       "SoftRouter: x must be [G, N, 4]; got [2, 3, 5]", ShapeError);
}
