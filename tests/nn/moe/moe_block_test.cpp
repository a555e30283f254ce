#include "nn/moe/moe_block.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "nn/conv2d.h"
#include "nn/gradcheck.h"
#include "nn/linear.h"
#include "nn/moe/k_subset.h"
#include "nn/moe/losses.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

using Kind = RouterNoiseKind;
using Auxiliary = BlockRouter::Auxiliary;
using Route = MoEBlock::Route;
using Aggregation = MoEBlock::Aggregation;

BlockRouter::Options plain(i64 experts, i64 k, bool hole = false, bool expert_choice = false) {
  return {.experts = experts,
          .k = k,
          .hole = hole,
          .expert_choice = expert_choice,
          .noise = {.kind = Kind::none},
          .auxiliary = Auxiliary::none};
}

struct Setup {
  Random random{7};
  Init init{random, DType::f64};
  std::unique_ptr<MoEBlock> block;
  // Linear experts, one by one.
  Setup(i64 width, i64 out, const MoEBlock::Options& o) {
    std::vector<std::unique_ptr<Layer>> list;
    for (i64 e = 0; e < o.router.experts; ++e) list.push_back(std::make_unique<AsLayer<Linear>>(width, out, init));
    block = std::make_unique<MoEBlock>(width, std::move(list), o, init);
    block->router.expert_embs = random_tensor(block->router.expert_embs.shape(), 4, -2, 2).requires_grad_();
  }
  const Linear& expert(i64 e) const {
    const auto& list = dynamic_cast<const ModuleExperts&>(*block->experts);
    return dynamic_cast<const AsLayer<Linear>&>(*list.layers[static_cast<std::size_t>(e)]).module;
  }
};

using Table = std::vector<std::vector<double>>;

// The gates [items][experts] by the card: a softmax over each row, its k best.
Table naive_gates(const Tensor& embs, const Tensor& items, i64 k, bool experts_choose, const Tensor& mask) {
  const i64 T = items.dim(0), D = items.dim(1), E = embs.dim(1);
  const auto real = [&](i64 t) { return !mask || value_at(mask, {t}) != 0; };
  Table gates(static_cast<std::size_t>(T), std::vector<double>(static_cast<std::size_t>(E)));
  const auto score = [&](i64 t, i64 e) {
    double s = 0;
    for (i64 d = 0; d < D; ++d) s += value_at(items, {t, d}) * value_at(embs, {d, e});
    return s;
  };
  const i64 rows = experts_choose ? E : T, columns = experts_choose ? T : E;
  for (i64 r = 0; r < rows; ++r) {
    std::vector<std::pair<double, i64>> row;  // probability, column
    double total = 0;
    for (i64 c = 0; c < columns; ++c) {
      const i64 t = experts_choose ? c : r, e = experts_choose ? r : c;
      if (!real(t)) continue;
      row.push_back({std::exp(score(t, e)), c});
      total += row.back().first;
    }
    std::stable_sort(row.begin(), row.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    for (i64 i = 0; i < std::min<i64>(k, static_cast<i64>(row.size())); ++i) {
      const auto& [p, c] = row[static_cast<std::size_t>(i)];
      const i64 t = experts_choose ? c : r, e = experts_choose ? r : c;
      gates[static_cast<std::size_t>(t)][static_cast<std::size_t>(e)] = p / total;
    }
  }
  return gates;
}

double gate_at(const Table& gates, i64 t, i64 e) {
  return gates[static_cast<std::size_t>(t)][static_cast<std::size_t>(e)];
}

Tensor naive_tokens(const Setup& s, const Tensor& x, const Table& gates) {
  const i64 S = x.dim(1), D = x.dim(2), E = s.block->options.router.experts, out = s.expert(0).weight.dim(0);
  const double scale = s.block->options.aggregation == Aggregation::mean ? 1.0 / static_cast<double>(E) : 1;
  Tensor y = zeros({x.dim(0), S, out}, DType::f64);
  for_each_index(y.shape(), [&](const std::vector<i64>& at) {
    double total = 0;
    for (i64 e = 0; e < E; ++e) {
      const double gate = gate_at(gates, at[0] * S + at[1], e);
      if (gate == 0) continue;
      double v = value_at(s.expert(e).bias, {at[2]});
      for (i64 d = 0; d < D; ++d) v += value_at(x, {at[0], at[1], d}) * value_at(s.expert(e).weight, {at[2], d});
      total += gate * v;
    }
    set_value(y, at, scale * total);
  });
  return y;
}

const Tensor& the_mask() {
  static const Tensor made =
      ne(tensor({{1, 1, 0, 1, 1, 0, 1}, {0, 0, 0, 0, 0, 0, 0}, {1, 1, 1, 1, 1, 1, 1}}), scalar(0));
  return made;
}

}  // namespace

TEST_CASE("MoEBlock: equals its definition in loops: tokens and experts choosing, hole, aggregation, masks") {
  const Tensor x = random_tensor({3, 7, 5}, 1);
  for (const bool experts_choose : {false, true})
    for (const bool hole : {false, true})
      for (const i64 k : {1, 2, 4})
        for (const Tensor& mask : {Tensor{}, the_mask()}) {
          CAPTURE(experts_choose);
          CAPTURE(hole);
          CAPTURE(k);
          const Setup s(5, 6,
                        {.router = plain(4, k, hole, experts_choose),
                         .aggregation = k == 2 ? Aggregation::mean : Aggregation::sum});
          const Table gates = naive_gates(s.block->router.expert_embs, reshape(x, {21, 5}), k, experts_choose,
                                          mask ? reshape(mask, {21}) : mask);
          Context context{.mask = mask};
          const BlockDecision d = s.block->decide(x, context);
          const Tensor y = s.block->process(x, d, context);
          CHECK_LE(difference(y, naive_tokens(s, x, gates)), 1e-13);
          const Tensor masks = d.masks(), load = d.load();
          REQUIRE_EQ(masks.shape(), Shape{hole ? 5 : 4, 3, 7});
          for_each_index(masks.shape(), [&](const std::vector<i64>& at) {
            CHECK_EQ(value_at(masks, at), doctest::Approx(gate_at(gates, at[1] * 7 + at[2], at[0])).epsilon(1e-12));
          });
          for_each_index({hole ? 5 : 4, 7}, [&](const std::vector<i64>& at) {
            i64 count = 0;
            for (i64 b = 0; b < 3; ++b) count += gate_at(gates, b * 7 + at[1], at[0]) > 0;
            CHECK_EQ(value_at(load, at), count);
          });
          CHECK_EQ(difference(d.total_load(), sum(load, 1)), 0);
          CHECK_EQ(difference(slice(d.total_load(), 0, {0, 4}), context.records.at(0).tensor), 0);
          CHECK_EQ(d.routing_matrix().shape(), Shape{3, 7, hole ? 5 : 4});
        }
}

TEST_CASE("MoEBlock: whole images, of three and four axes, with experts of different kinds") {
  Random random(7);
  Init init(random, DType::f64);
  std::vector<std::unique_ptr<Layer>> list;
  for (int e = 0; e < 2; ++e) list.push_back(std::make_unique<Conv2d>(4, 6, init));
  MoEBlock conv(4, std::move(list), {.router = plain(2, 1, true), .route = Route::images}, init);
  const auto& experts = dynamic_cast<const ModuleExperts&>(*conv.experts);
  const Tensor x = random_tensor({5, 4, 2, 3}, 1, -2, 2);
  const Table gates = naive_gates(conv.router.expert_embs, mean(x, {2, 3}), 1, false, {});
  Context context;
  const BlockDecision d = conv.decide(x, context);
  Tensor want = zeros({5, 6, 2, 3}, DType::f64);
  for (i64 b = 0; b < 5; ++b)
    for (i64 e = 0; e < 2; ++e) {
      if (gate_at(gates, b, e) == 0) continue;
      const Tensor out = experts.layers[static_cast<std::size_t>(e)]->forward(x[b], context);
      for_each_index({6, 2, 3}, [&](const std::vector<i64>& at) {
        set_value(want, {b, at[0], at[1], at[2]}, gate_at(gates, b, e) * value_at(out, at));
      });
    }
  CHECK_LE(difference(conv.process(x, d, context), want), 1e-14);
  CHECK_EQ(d.load().shape(), Shape{3, 1});

  const Setup s(4, 3, {.router = plain(3, 2), .route = Route::images});  // Linear(4, 3) on the last axis of [4, 4]
  const Tensor rows = random_tensor({5, 4, 4}, 2);
  const Table of_rows = naive_gates(s.block->router.expert_embs, mean(rows, 2), 2, false, {});
  Context other;
  const Tensor y = s.block->forward(rows, other);
  for_each_index({5, 4, 3}, [&](const std::vector<i64>& at) {
    double v = 0;
    for (i64 e = 0; e < 3; ++e) {
      double out = value_at(s.expert(e).bias, {at[2]});
      for (i64 i = 0; i < 4; ++i) out += value_at(rows, {at[0], at[1], i}) * value_at(s.expert(e).weight, {at[2], i});
      v += gate_at(of_rows, at[0], e) * out;
    }
    CHECK_EQ(value_at(y, at), doctest::Approx(v).epsilon(1e-12));
  });
  Context masked{.mask = ne(tensor({1, 0, 1, 1, 0}), scalar(0))};
  CHECK_EQ(amax(abs(s.block->forward(rows, masked)[1])).item(), 0);
}

TEST_CASE("MoEBlock: only items that an expert has are computed") {
  // Counts the rows that it is given.
  struct Counting : Layer {
    explicit Counting(i64* n) : rows(n) {}
    Tensor forward(const Tensor& x, Context&) const override {
      *rows += x.dim(1);
      return x;
    }
    void members(Members&) override {}
    i64* rows;
  };
  Random random(7);
  Init init(random, DType::f64);
  i64 rows[3] = {0, 0, 0};
  std::vector<std::unique_ptr<Layer>> list;
  for (i64& n : rows) list.push_back(std::make_unique<Counting>(&n));
  const MoEBlock block(4, std::move(list), {.router = plain(3, 2, true)}, init);
  Context context;
  const BlockDecision d = block.decide(random_tensor({2, 50, 4}, 1), context);
  block.process(random_tensor({2, 50, 4}, 1), d, context);
  const auto load = d.total_load().to_vector<i64>();
  CHECK_EQ(std::accumulate(load.begin(), load.end(), i64{0}), 200);
  for (std::size_t e = 0; e < 3; ++e) CHECK_EQ(rows[e], load[e]);
  CHECK_GT(load[3], 0);
}

TEST_CASE(
    "MoEBlock: gradients through the router with gaussian and gumbel noise, every loss, masks, an expert without "
    "tokens") {
  const Tensor x = random_tensor({3, 7, 3}, 1, 0.2, 1);
  const auto check = [&](BlockRouter::Options o, const Tensor& mask, const std::vector<i64>& noise_shape) {
    const Setup s(3, 4, {.router = o});
    for (i64 d = 0; d < 3 && !o.expert_choice; ++d) set_value(s.block->router.expert_embs, {d, 2}, -4);
    const Tensor noise = random_tensor(Shape(noise_shape.begin(), noise_shape.end()), 2, -0.5, 0.5);
    const auto forward = [&](const std::vector<Tensor>& in) {
      Context context{.training = true, .mask = mask};
      context.replayed.tensors = {noise};
      const Tensor y = s.block->forward(in[0], context);
      if (!o.expert_choice) CHECK_EQ(value_at(context.records.at(0).tensor, {2}), 0);
      Tensor loss = sum(y * random_tensor(y.shape(), 5));
      for (const auto& [name, value] : context.losses) loss = loss + value;
      CHECK_EQ(context.losses.size(), 1);
      return loss;
    };
    const GradReport report = gradcheck(*s.block, forward, {x}, {.most = 40, .redraw = 20});
    CHECK_MESSAGE(report.ok, report.text());
  };
  for (const bool experts_choose : {false, true})
    for (const Tensor& mask : {Tensor{}, the_mask()}) {
      const std::vector<i64> shape = experts_choose ? std::vector<i64>{1, 4, 21} : std::vector<i64>{1, 21, 4};
      for (const Auxiliary a : {Auxiliary::balance_entropy, Auxiliary::l2_mass_entropy, Auxiliary::load}) {
        BlockRouter::Options o = plain(3, 2, true, experts_choose);
        o.noise = {.kind = Kind::gaussian, .initial_gain = 1};  // with zeros its deviation would not depend on x
        o.auxiliary = a;
        check(o, mask, shape);
      }
      BlockRouter::Options o = plain(3, 2, true, experts_choose);
      o.noise.kind = Kind::gumbel;
      o.auxiliary = Auxiliary::balance_entropy;
      check(o, mask, shape);
    }
}

TEST_CASE("MoEBlock: losses and their unreduced forms; none in evaluation") {
  const Tensor x = random_tensor({2, 6, 4}, 1);
  BlockRouter::Options o = plain(3, 1);
  o.noise = {.kind = Kind::gaussian, .initial_gain = 1};
  for (const Auxiliary a : {Auxiliary::balance_entropy, Auxiliary::l2_mass_entropy, Auxiliary::load}) {
    o.auxiliary = a;
    const Setup s(4, 4, {.router = o});
    Context context{.training = true}, evaluation;
    context.replayed.tensors = {random_tensor({1, 12, 3}, 2)};
    const BlockDecision d = s.block->decide(x, context);
    const Tensor mass = sum(d.routing.probabilities, 1)[0];
    if (a == Auxiliary::balance_entropy) {
      const Tensor p = mass / 12.0;
      CHECK_EQ(context.losses.at("balance_entropy").item(), doctest::Approx(std::log(3.0) + sum(p * log(p)).item()));
      CHECK_FALSE(static_cast<bool>(d.auxiliary));
    } else if (a == Auxiliary::l2_mass_entropy) {
      const Tensor r = mass / sqrt(sum(mass * mass));
      CHECK_LE(difference(d.auxiliary, neg(r * log(r))), 1e-14);
      CHECK_EQ(context.losses.at("l2_mass_entropy").item(), doctest::Approx(sum(d.auxiliary).item()));
    } else {
      CHECK_EQ(d.auxiliary.shape(), Shape{3});
      const double m = mean(d.auxiliary).item(), v = mean(square(d.auxiliary - m)).item();
      CHECK_EQ(context.losses.at("load").item(), doctest::Approx(v / (m * m)));
    }
    CHECK_FALSE(static_cast<bool>(s.block->decide(x, evaluation).auxiliary));
    CHECK(evaluation.losses.empty());
  }
}

TEST_CASE("MoEBlock: masked items have no influence on what is left") {
  for (const bool experts_choose : {false, true})
    for (const Auxiliary a : {Auxiliary::balance_entropy, Auxiliary::l2_mass_entropy, Auxiliary::load}) {
      BlockRouter::Options o = plain(3, 2, false, experts_choose);
      o.noise.kind = Kind::gaussian;
      o.auxiliary = a;
      const Setup s(4, 4, {.router = o});
      const Tensor x = random_tensor({1, 6, 4}, 1), r = random_tensor({1, 6, 3}, 2);
      const auto run = [&](i64 tokens, const Tensor& mask) {
        Context context{.training = true, .mask = mask};
        const Tensor noise = slice(r, 1, {0, tokens});
        context.replayed.tensors = {experts_choose ? swap_axes(noise, 1, 2) : noise};
        const Tensor y = s.block->forward(slice(x, 1, {0, tokens}), context);
        return std::pair{slice(y, 1, {0, 4}), context.losses.begin()->second.item()};
      };
      const auto with = run(6, ne(tensor({{1, 1, 1, 1, 0, 0}}), scalar(0))), without = run(4, {});
      CHECK_LE(difference(with.first, without.first), 1e-14);
      CHECK_EQ(with.second, doctest::Approx(without.second).epsilon(1e-12));
      const auto none = run(6, ne(zeros({1, 6}), scalar(0)));
      CHECK_EQ(amax(abs(none.first)).item(), 0);
      CHECK(std::isfinite(none.second));
    }
}

TEST_CASE("MoEBlock: SIMPLE noise: gates are 1, with the gradient of the marginals") {
  BlockRouter::Options o = plain(4, 2);
  o.noise.kind = Kind::simple;
  const Setup s(3, 3, {.router = o});
  Tensor x = random_tensor({2, 5, 3}, 1).requires_grad_();
  const Tensor u = random_tensor({4, 1, 10}, 2, 0, 1), w = random_tensor({2, 5, 4}, 3);
  Context context{.training = true};
  context.replayed.tensors = {u};
  const BlockDecision d = s.block->decide(x, context);
  const Tensor logits = matmul(reshape(x, {1, 10, 3}), s.block->router.expert_embs);
  CHECK_EQ(difference(reshape(move_axis(d.masks(), 0, 2), {1, 10, 4}), sample_k_subset(logits, 2, u)), 0);
  const Tensor marginals = reshape(k_subset_marginals(logits, 2), {2, 5, 4});
  CHECK_LE(difference(grad(sum(d.routing_matrix() * w), {x})[0], grad(sum(marginals * w), {x})[0]), 1e-13);
}

TEST_CASE("MoEBlock: batched experts, sizes 0 and 1, f32 and bf16, names and title") {
  Random random(7);
  Init init(random, DType::f64);
  const LinearExperts::Options linear{.experts = 3, .out = 5};
  BlockRouter::Options o = plain(3, 2, true);
  o.noise.kind = Kind::gaussian;
  MoEBlock block(4, std::make_unique<LinearExperts>(4, linear, init), {.router = o, .layer_id = 3}, init);
  const Setup one_by_one(4, 5, {.router = o});
  one_by_one.block->load_state_dict(block.state_dict());
  const Tensor x = random_tensor({2, 6, 4}, 1);
  Context context, other;
  const Tensor want = block.forward(x, context);
  CHECK_LE(difference(want, one_by_one.block->forward(x, other)), 1e-14);
  for (const Shape& shape : {Shape{1, 1, 4}, Shape{0, 3, 4}, Shape{2, 0, 4}, Shape{3, 4}, Shape{2, 2, 3, 4}}) {
    Context c;
    const Tensor in = random_tensor(shape, 1).requires_grad_();
    const Tensor y = block.forward(in, c);
    CHECK_EQ(y.size(), in.size() / 4 * 5);
    CHECK(all(isfinite(grad(sum(y), {in})[0])).item() == 1);
  }
  for (const DType dtype : {DType::f32, DType::bf16}) {
    block.to(dtype);
    Context c;
    CHECK_LE(difference(cast(block.forward(cast(x, dtype), c), DType::f64), want), dtype == DType::f32 ? 1e-5 : 0.03);
  }
  std::vector<std::string> names;
  for (const NamedTensor& t : block.state_dict()) names.push_back(t.name);
  std::sort(names.begin(), names.end());
  CHECK(names == std::vector<std::string>{"experts.0.bias", "experts.0.weight", "experts.1.bias", "experts.1.weight",
                                          "experts.2.bias", "experts.2.weight", "router.expert_embs", "router.mean",
                                          "router.routing_noise", "router.std"});
  CHECK_EQ(block.title(), "layer 3/ MoEBlock (4 experts)");
  CHECK_EQ(one_by_one.block->title(), "layer unk/ MoEBlock (4 experts)");
}

TEST_CASE("MoEBlock: errors") {
  Context context;
  CHECK_THROWS_WITH_AS(Setup(4, 4, {.router = plain(3, 4)}),
                       "MoEBlock: k must be in [1, experts]; got k = 4, experts = 3", Error);
  CHECK_THROWS_WITH_AS(Setup(4, 4, {.router = plain(3, 0, true)}),
                       "MoEBlock: k must be in [1, experts]; got k = 0, experts = 3 and a hole", Error);
  BlockRouter::Options o = plain(3, 1);
  o.auxiliary = Auxiliary::load;
  CHECK_THROWS_WITH_AS(Setup(4, 4, {.router = o}),
                       "MoEBlock: the auxiliary loss 'load' needs gaussian noise; got another kind", Error);
  Random random(1);
  Init init(random);
  const BlockRouter router(4, plain(3, 1), init);
  CHECK_THROWS_WITH_AS(router.route(zeros({2, 3, 5}), {}, context), "MoEBlock: x must be [G, N, 4]; got [2, 3, 5]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(router.route(zeros({2, 3, 4}), zeros({2, 3}), context),
                       "MoEBlock: x must be bool (mask); got f32", DTypeError);
  CHECK_THROWS_WITH_AS(MoEBlock(4, std::unique_ptr<Experts>{}, {}, init), "MoEBlock: it must have experts; got none",
                       Error);
  const Setup s(4, 4, {.router = plain(3, 1, false, true)});
  CHECK_THROWS_WITH_AS(s.block->forward(zeros({2, 0, 4}, DType::f64), context),
                       "MoEBlock: experts can choose only if there are items; got x [2, 0, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(s.block->forward(zeros({2, 3, 5}, DType::f64), context),
                       "MoEBlock: D must be 4, the router's width; got x [2, 3, 5]", ShapeError);
  CHECK_THROWS_WITH_AS(s.block->forward(zeros({4}, DType::f64), context), "MoEBlock: x must be [.., S, D]; got [4]",
                       ShapeError);
}
