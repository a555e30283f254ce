#include "nn/moe/mod_layer.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/autograd.h"
#include "core/choose.h"
#include "nn/gradcheck.h"
#include "nn/moe/mhsa.h"
#include "nn/recompute.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

struct Setup {
  Random random{7};
  Init init{random, DType::f64};
  MHSA* attention = nullptr;
  std::unique_ptr<MoDLayer> layer;
  Setup(i64 width, const MoDLayer::Options& o) {
    auto block = std::make_unique<MHSA>(width, MHSA::Options{.heads = 2}, init);
    attention = block.get();
    layer = std::make_unique<MoDLayer>(width, std::move(block), o, init);
  }
};

// Row by row: the tokens with the largest logits, in order of position, through the block alone.
Tensor naive(const Setup& s, const Tensor& x, const Tensor& mask) {
  const MoDLayer::Options& o = s.layer->options;
  const i64 N = x.dim(1), D = x.dim(2), C = std::min(N, o.capacity.of(N, 1, 1));
  Tensor y = zeros(x.shape(), DType::f64);
  for (i64 b = 0; b < x.dim(0); ++b) {
    std::vector<double> logit(static_cast<std::size_t>(N), 0);
    std::vector<i64> picked;
    for (i64 n = 0; n < N; ++n) {
      for (i64 d = 0; d < D; ++d)
        logit[static_cast<std::size_t>(n)] += value_at(x, {b, n, d}) * value_at(s.layer->router.gate.weight, {0, d});
      if (!mask || value_at(mask, {b, n}) != 0) picked.push_back(n);
      for (i64 d = 0; d < D && o.residual; ++d) set_value(y, {b, n, d}, value_at(x, {b, n, d}));
    }
    const auto l = [&](i64 n) { return logit[static_cast<std::size_t>(n)]; };
    if (o.gates != ChoiceGates::over_experts)
      std::stable_sort(picked.begin(), picked.end(), [&](i64 a, i64 c) { return l(a) > l(c); });
    picked.resize(std::min(picked.size(), static_cast<std::size_t>(C)));
    std::sort(picked.begin(), picked.end());
    if (picked.empty()) continue;
    Context context;
    const Tensor rows = index_select(x, 1, from_vector(picked, {static_cast<i64>(picked.size())}));
    const Tensor out = s.attention->forward(slice(rows, 0, {b, b + 1}), context)[0];
    for (std::size_t c = 0; c < picked.size(); ++c) {
      const double gate = o.gates == ChoiceGates::over_experts ? 1
                          : o.gates == ChoiceGates::sigmoid    ? 1 / (1 + std::exp(-l(picked[c])))
                                                               : l(picked[c]);
      for (i64 d = 0; d < D; ++d)
        set_value(y, {b, picked[c], d},
                  value_at(y, {b, picked[c], d}) + gate * value_at(out, {static_cast<i64>(c), d}));
    }
  }
  return y;
}

// Eight, none, one and three tokens.
const Tensor& the_mask() {
  static const Tensor made =
      tensor({{1, 1, 1, 1, 1, 1, 1, 1}, {0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 1, 0, 0, 0, 0}, {1, 0, 0, 1, 0, 0, 0, 1}},
             DType::boolean);
  return made;
}

}  // namespace

TEST_CASE("MoDLayer: picked tokens pass the block together, the others around it; masked ones never") {
  const Tensor x = random_tensor({4, 8, 6}, 3, -2, 2);
  for (const ChoiceGates gates : {ChoiceGates::logits, ChoiceGates::sigmoid, ChoiceGates::over_experts})
    for (const bool residual : {true, false})
      for (const double factor : {0.01, 0.5, 1.0}) {
        CAPTURE(factor);
        const Setup s(6, {.capacity = {.factor = factor, .rule = Capacity::Rule::tokens, .least = 1},
                          .gates = gates,
                          .residual = residual});
        for (const Tensor& mask : {Tensor{}, the_mask()}) {
          Context context{.mask = mask};
          CHECK_LE(difference(s.layer->forward(x, context), naive(s, x, mask)), 1e-13);
          CHECK_EQ(static_cast<bool>(context.mask), static_cast<bool>(mask));
        }
      }
}

TEST_CASE("MoDLayer: gradients of order 2 through the router, with masked rows; untouched tokens keep theirs") {
  for (const ChoiceGates gates : {ChoiceGates::logits, ChoiceGates::sigmoid, ChoiceGates::over_picked}) {
    Setup s(4, {.capacity = {.slots = 3}, .gates = gates});
    const Tensor x = random_tensor({4, 8, 4}, 5, -2, 2);
    const auto forward = [&](const std::vector<Tensor>& in) {
      Context context{.mask = the_mask()};
      const Tensor y = s.layer->forward(in[0], context);
      return y + context.losses.at("router_z");
    };
    const GradReport report = gradcheck(*s.layer, forward, {x}, {.order = 2, .most = 24});
    CHECK_MESSAGE(report.ok, report.table());
  }
  const Setup s(4, {.capacity = {.slots = 3}});
  Tensor x = random_tensor({4, 8, 4}, 5);
  x.requires_grad_();
  Context context{.mask = the_mask()};
  const Tensor dx = grad(sum(s.layer->forward(x, context)), {x})[0];
  CHECK_EQ(difference(dx[1], ones({8, 4}, DType::f64)), 0);
}

TEST_CASE("MoDLayer: recomputed in backward, it has the same gradients, losses and records") {
  const Setup s(4, {.capacity = {.slots = 3}});
  Tensor x = random_tensor({4, 8, 4}, 5, -2, 2);
  x.requires_grad_();
  const auto plain = [&](const Tensor& in, Context& c) { return s.layer->forward(in, c); };
  const auto run = [&](bool recompute, Context& context) {
    const Tensor y = recompute ? checkpoint(plain, x, context) : plain(x, context);
    return grad(sum(square(y)) + context.losses.at("router_z"), {x, s.layer->router.gate.weight});
  };
  Context kept{.mask = the_mask()}, again{.mask = the_mask()};
  const std::vector<Tensor> a = run(false, kept), b = run(true, again);
  CHECK_EQ(difference(a[0], b[0]), 0);
  CHECK_EQ(difference(a[1], b[1]), 0);
  CHECK_GT(difference(a[1], zeros_like(a[1])), 0.01);
  CHECK_EQ(kept.losses.at("router_z").item(), again.losses.at("router_z").item());
  CHECK_EQ(kept.records.size(), again.records.size());
}

TEST_CASE("MoDLayer: order of positions or of gates; replayed picks") {
  const Tensor x = random_tensor({1, 6, 4}, 3, -2, 2);
  const Setup position(4, {.capacity = {.slots = 4}}), gate(4, {.capacity = {.slots = 4}, .in_order = false});
  gate.layer->load_state_dict(position.layer->state_dict());
  Context context;
  const Routing p = position.layer->route(x, context), g = gate.layer->route(x, context);
  std::vector<i64> by_gate = g.token.to_vector<i64>();
  CHECK_FALSE(std::is_sorted(by_gate.begin(), by_gate.end()));
  std::sort(by_gate.begin(), by_gate.end());
  CHECK(p.token.to_vector<i64>() == by_gate);
  CHECK_LE(difference(position.layer->process(x, p, context), gate.layer->process(x, g, context)), 1e-14);

  RouteTape tape({{"top_k", tensor({{{5, 0, 2, 1}}}, DType::i64), 0, {1, 1, 6}}});
  const TapeScope replay(tape, TapeMode::replay);
  CHECK(gate.layer->route(x, context).token.to_vector<i64>() == std::vector<i64>{5, 0, 2, 1});
}

TEST_CASE("MoDLayer: records, names, bf16, no tokens, errors") {
  Setup s(4, {.block_name = "attn_fn"});
  Context context;
  s.layer->forward(random_tensor({2, 16, 4}, 3), context);
  CHECK_EQ(context.records[0].tensor.item(), 4);  // two rows of 12.5 % of 16 tokens
  CHECK_EQ(context.records[1].tensor.item(), 28);
  CHECK_EQ(context.losses.size(), 1);
  std::string names;
  for (const NamedTensor& t : s.layer->state_dict()) names += t.name + " ";
  CHECK_EQ(names,
           "router.gate.weight attn_fn.queries_keys_values.weight attn_fn.queries_keys_values.bias "
           "attn_fn.projection.weight attn_fn.projection.bias ");
  CHECK_EQ(s.layer->forward(zeros({2, 0, 4}, DType::f64), context).shape(), Shape{2, 0, 4});
  CHECK_EQ(s.layer->forward(zeros({2, 1, 4}, DType::f64), context).shape(), Shape{2, 1, 4});
  CHECK_THROWS_WITH_AS(s.layer->forward(zeros({2, 4}, DType::f64), context),
                       "MoDLayer: x must be [B, N, D]; got [2, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(MoDLayer(4, nullptr, {}, s.init), "MoDLayer: there must be a block; got none", Error);
  Setup narrow(4, {.capacity = {.factor = 0.5}});
  narrow.layer->to(DType::bf16);
  Context fresh;
  CHECK(narrow.layer->forward(random_tensor({2, 8, 4}, 3, -1, 1, DType::bf16), fresh).dtype() == DType::bf16);
}
