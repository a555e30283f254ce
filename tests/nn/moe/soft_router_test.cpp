#include "nn/moe/soft_router.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "nn/gradcheck.h"
#include "nn/moe/experts.h"
#include "nn/moe/moe.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

using Combine = SoftWeights::Combine;
using Masked = SoftWeights::Masked;

// dispatch and combine, one above the other: [2, G, P, N].
Tensor both(const Routing& r) { return concat({unsqueeze(r.dispatch, 0), unsqueeze(r.combine, 0)}, 0); }

// The same in loops. A weight that is left out has e^least = 0 beside others that are not, and they are all alike where
// nothing else is there.
struct Naive {
  Tensor z;
  SoftMask mask;
  SoftWeights how;

  bool out(i64 g, i64 n, i64 c) const {
    return (mask.tokens && value_at(mask.tokens, {g, n}) == 0) || (mask.slots && value_at(mask.slots, {g, c}) == 0);
  }
  // The share of the first of several values, those left out being -1e300.
  static double share(double first, const std::vector<double>& all) {
    double most = -1e300, total = 0;
    for (double v : all) most = std::max(most, v);
    for (double v : all) total += std::exp(v - most);
    return std::exp(first - most) / total;
  }
  double at(i64 g, i64 n, i64 e, i64 c) const { return out(g, n, c) ? -1e300 : value_at(z, {g, n, e, c}); }
  double of_experts(i64 g, i64 n, i64 e, i64 c) const {
    std::vector<double> all;
    for (i64 i = 0; i < z.dim(2); ++i) all.push_back(at(g, n, i, c));
    return out(g, n, c) ? -1e300 : share(at(g, n, e, c), all);
  }
  double dispatch(i64 g, i64 n, i64 e, i64 c) const {
    if (how.masked == Masked::zeros && out(g, n, c)) return 0;
    std::vector<double> all;
    for (i64 i = 0; i < z.dim(1); ++i) all.push_back(at(g, i, e, c));
    return share(at(g, n, e, c), all);
  }
  double combine(i64 g, i64 n, i64 e, i64 c) const {
    if (how.masked == Masked::zeros && out(g, n, c)) return 0;
    std::vector<double> all;
    if (how.combine == Combine::experts_then_slots) {
      for (i64 j = 0; j < z.dim(3); ++j) all.push_back(of_experts(g, n, e, j));
      return share(of_experts(g, n, e, c), all);
    }
    for (i64 i = 0; i < z.dim(2); ++i)
      for (i64 j = 0; j < z.dim(3); ++j) all.push_back(at(g, n, i, j));
    return share(at(g, n, e, c), all);
  }
  Tensor both() const {
    const i64 E = z.dim(2), C = z.dim(3);
    Tensor y = zeros({2, z.dim(0), E * C, z.dim(1)}, DType::f64);
    for_each_index(y.shape(), [&](const std::vector<i64>& i) {
      const i64 e = i[2] / C, c = i[2] % C;
      set_value(y, i, i[0] == 0 ? dispatch(i[1], i[3], e, c) : combine(i[1], i[3], e, c));
    });
    return y;
  }
};

// Group 0 has three tokens of five, group 1 none; the last slot of group 0 is not in use.
SoftMask masks(bool tokens, bool slots) {
  SoftMask mask;
  if (tokens) mask.tokens = cast(tensor({{1, 0, 1, 1, 0}, {0, 0, 0, 0, 0}}), DType::boolean);
  if (slots) mask.slots = cast(tensor({{1, 0}, {1, 1}}), DType::boolean);
  return mask;
}

Tensor keep(const Literal& values) { return cast(tensor(values), DType::boolean); }

}  // namespace

TEST_CASE("soft_routing: weights, masks and groups without tokens, as in loops, to second order") {
  for (const Combine combine : {Combine::jointly, Combine::experts_then_slots})
    for (const Masked masked : {Masked::zeros, Masked::mean_of_slots})
      for (const int mask : {0, 1, 2, 3}) {
        const SoftWeights how{combine, masked};
        const SoftMask m = masks(mask & 1, mask & 2);
        CAPTURE(mask);
        check_op({.op = [=](Args a) { return both(soft_routing(a[0], m, how, a[0].dtype())); },
                  .reference =
                      [=](Args a) {
                        return Naive{a[0], m, how}.both();
                      },
                  .inputs = {Input({2, 5, 3, 2}, -3, 3)}});
      }
}

TEST_CASE("soft_routing: one token, one expert, one slot, huge logits, and nothing at all") {
  for (const Shape& shape : {Shape{2, 1, 3, 2}, Shape{2, 4, 1, 2}, Shape{2, 4, 3, 1}, Shape{1, 1, 1, 1}})
    check_op({.op = [](Args a) { return both(soft_routing(a[0], {}, {}, a[0].dtype())); },
              .reference =
                  [](Args a) {
                    return Naive{a[0], {}, {}}.both();
                  },
              .inputs = {Input(shape, -1e3, 1e3)},
              .order = 0});
  for (const Shape& shape : {Shape{0, 4, 3, 2}, Shape{2, 0, 3, 2}, Shape{2, 0, 3, 0}}) {
    const Tensor z = zeros(shape, DType::f64).requires_grad_();
    const Routing r = soft_routing(z, {.tokens = zeros({shape[0], shape[1]}, DType::boolean)}, {}, DType::f64);
    CHECK_EQ(r.combine.shape(), Shape{shape[0], shape[2] * shape[3], shape[1]});
    CHECK_EQ(grad(sum(r.dispatch) + sum(r.combine), {z})[0].shape(), shape);
  }
}

TEST_CASE("soft_routing: weights sum to 1 over tokens and over slots; f32 inside, rounded at the end") {
  const Tensor z = random_tensor({2, 6, 3, 4}, 1, -2, 2);
  const Routing r = soft_routing(z, {}, {}, DType::f64);
  CHECK_LE(difference(sum(r.dispatch, 2), ones({2, 12}, DType::f64)), 1e-14);
  CHECK_LE(difference(sum(r.combine, 1), ones({2, 6}, DType::f64)), 1e-14);
  const Routing twice = soft_routing(z, {}, {.combine = Combine::experts_then_slots}, DType::f64);
  CHECK_LE(difference(sum(twice.combine, 1), full({2, 6}, 3, DType::f64)), 1e-14);
  CHECK_EQ(r.experts, 3);
  CHECK_EQ(r.slots_per_expert(), 4);

  const Tensor narrow = cast(z, DType::bf16);
  const Routing b = soft_routing(narrow, {}, {}, DType::bf16), w = soft_routing(widen(narrow), {}, {}, DType::f32);
  CHECK(b.logits.dtype() == DType::f32);
  CHECK_EQ(difference(widen(b.dispatch), widen(cast(w.dispatch, DType::bf16))), 0);
  CHECK_EQ(difference(widen(b.combine), widen(cast(w.combine, DType::bf16))), 0);
}

TEST_CASE("soft_routing: shapes and dtypes that do not fit are named") {
  CHECK_THROWS_WITH_AS(soft_routing(zeros({2, 3, 4}), {}, {}, DType::f32),
                       "soft_routing: logits must be [G, N, E, C]; got [2, 3, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(soft_routing(zeros({2, 3, 4, 5}), {.tokens = zeros({3, 2}, DType::boolean)}, {}, DType::f32),
                       "soft_routing: the mask of tokens must be [2, 3]; got [3, 2]", ShapeError);
  CHECK_THROWS_WITH_AS(
      soft_routing(zeros({2, 3, 4, 5}), {.tokens = {}, .slots = zeros({2, 4}, DType::boolean)}, {}, DType::f32),
      "soft_routing: the mask of slots must be [2, 5]; got [2, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(soft_routing(zeros({2, 3, 4, 5}), {.tokens = zeros({2, 3})}, {}, DType::f32),
                       "soft_routing: x must be bool (the mask of tokens); got f32", DTypeError);
}

// ---- the router

namespace {

struct Setup {
  Random random{3};
  Init init{random, DType::f64};
  Context context;
};

using SlotNorm = SoftRouter::SlotNorm;
using Layout = SoftRouter::Layout;

// x phi in loops, with everything normalised as the options say.
Tensor naive_logits(SoftRouter& router, const Tensor& x) {
  const SoftRouter::Options& o = router.options;
  const i64 G = x.dim(0), N = x.dim(1), D = x.dim(2);
  const auto slot = [&](i64 e, i64 c, i64 d) {
    return value_at(router.phi,
                    o.layout == Layout::width_first ? std::vector<i64>{d, e, c} : std::vector<i64>{e, c, d});
  };
  Tensor y = zeros({G, N, o.experts, o.slots}, DType::f64);
  for_each_index(y.shape(), [&](const std::vector<i64>& i) {
    double of_x = 0, of_slot = 0, mean = 0, variance = 0, total = 0;
    for (i64 d = 0; d < D; ++d) {
      const double v = value_at(x, {i[0], i[1], d}), s = slot(i[2], i[3], d);
      of_x += v * v, of_slot += s * s, mean += s / static_cast<double>(D);
    }
    for (i64 d = 0; d < D; ++d) variance += std::pow(slot(i[2], i[3], d) - mean, 2) / static_cast<double>(D);
    for (i64 d = 0; d < D; ++d) {
      double s = slot(i[2], i[3], d);
      if (o.slot_norm == SlotNorm::l2) s *= value_at(router.scale, {0}) / std::sqrt(of_slot);
      if (router.norm) {
        s = o.slot_norm == SlotNorm::rms ? s / std::sqrt(of_slot / static_cast<double>(D))
                                         : (s - mean) / std::sqrt(variance + 1e-5);
        s = s * value_at(router.norm->gamma, {d}) + (router.norm->beta ? value_at(router.norm->beta, {d}) : 0);
      }
      total += s * value_at(x, {i[0], i[1], d}) / (o.normalize_tokens ? std::sqrt(of_x) : 1);
    }
    set_value(y, i, total);
  });
  return y;
}

void randomize(Module& module) {
  u64 seed = 20;
  for (const Member& m : module.all_members()) {
    no_grad guard;
    m.tensor->assign(random_tensor(m.tensor->shape(), ++seed, 0.5, 1.5) - 0.9);
  }
}

}  // namespace

TEST_CASE("SoftRouter: logits in loops and gradients to second order, for every norm and layout, with masks") {
  for (const SlotNorm norm : {SlotNorm::none, SlotNorm::l2, SlotNorm::rms, SlotNorm::layer})
    for (const bool first : {true, false}) {
      CAPTURE(static_cast<int>(norm));
      CAPTURE(first);
      Setup s;
      SoftRouter router(4,
                        {.experts = 3,
                         .slots = 2,
                         .normalize_tokens = first,
                         .slot_norm = norm,
                         .layout = first ? Layout::width_first : Layout::width_last},
                        s.init);
      randomize(router);
      const Tensor x = random_tensor({2, 5, 4}, 1), mask = masks(true, false).tokens;
      const Routing r = router.route(x, mask, s.context);
      const Tensor logits = naive_logits(router, x);
      CHECK_LE(difference(r.logits, logits), 1e-12);
      CHECK_LE(difference(both(r), Naive{logits, {.tokens = mask}, {}}.both()), 1e-12);
      const GradReport report =
          gradcheck(router, [&](const std::vector<Tensor>& in) { return both(router.route(in[0], mask, s.context)); },
                    {x}, {.order = 2});
      CHECK_MESSAGE(report.ok, report.text());
    }
}

TEST_CASE("SoftRouter: a mixture is Algorithm 1 of the paper, and masked tokens change nothing for the others") {
  Setup s;
  auto router = std::make_unique<SoftRouter>(4, SoftRouter::Options{.experts = 3, .slots = 2}, s.init);
  SoftRouter& learned = *router;
  MoE moe(std::move(router), std::make_unique<LinearExperts>(4, LinearExperts::Options{.experts = 3}, s.init));
  randomize(moe);
  const LinearExperts& experts = dynamic_cast<const LinearExperts&>(*moe.experts);
  const Tensor x = random_tensor({2, 5, 4}, 2);
  const Tensor w = Naive{naive_logits(learned, x), {}, {}}.both();
  Tensor want = zeros(x.shape(), DType::f64);
  for_each_index({2, 6, 5, 4}, [&](const std::vector<i64>& i) {  // group, slot, token, feature
    double out = value_at(experts.bias, {i[1] / 2, i[3]});
    for (i64 d = 0; d < 4; ++d)
      for (i64 n = 0; n < 5; ++n)
        out +=
            value_at(w, {0, i[0], i[1], n}) * value_at(x, {i[0], n, d}) * value_at(experts.weight, {i[1] / 2, d, i[3]});
    const std::vector<i64> at{i[0], i[2], i[3]};
    set_value(want, at, value_at(want, at) + value_at(w, {1, i[0], i[1], i[2]}) * out);
  });
  CHECK_LE(difference(moe.forward(x, s.context), want), 1e-12);

  s.context.mask = keep({{1, 1, 1, 0, 0}, {0, 0, 0, 0, 0}});
  const Tensor y = moe.forward(x, s.context);
  const Tensor other = concat({slice(x, 1, {0, 3}), random_tensor({2, 2, 4}, 9)}, 1);
  CHECK_EQ(difference(slice(moe.forward(other, s.context), 1, {0, 3}), slice(y, 1, {0, 3})), 0);
  CHECK_EQ(amax(abs(y[1])).item(), 0);
  CHECK_EQ(amax(abs(slice(y, 1, {3, 5}))).item(), 0);
  s.context.mask = {};
  CHECK_LE(difference(moe.forward(slice(x, 1, {0, 3}), s.context)[0], slice(y, 1, {0, 3})[0]), 1e-14);
}

TEST_CASE("SoftRouter: noise comes from the stream, in training or always, and can be replayed") {
  Setup s;
  SoftRouter router(4, {.experts = 3, .slots = 2, .noise = {.factor = 0.7}}, s.init);
  const Tensor x = random_tensor({2, 5, 4}, 1);
  const auto logits = [&](Context& c) { return router.route(x, {}, c).logits; };
  const Tensor quiet = logits(s.context);
  CHECK_EQ(difference(quiet, naive_logits(router, x)), doctest::Approx(0));

  Random a(5), b(5);
  Context first{.training = true, .random = &a}, second{.training = true, .random = &b};
  const Tensor once = logits(first), again = logits(first);
  CHECK_EQ(difference(logits(second), once), 0);
  CHECK_GT(difference(once, again), 0.01);

  const Tensor gumbel = random_tensor({2, 5, 3, 2}, 8);
  Context replay{.training = true};
  replay.replayed.tensors = {gumbel};
  CHECK_LE(difference(logits(replay), quiet + 0.7 * gumbel), 1e-15);
  CHECK_THROWS_WITH_AS(logits(replay), "context: the layer needs random numbers; set Context::random to a Random",
                       Error);

  router.options.noise.in_evaluation = true;
  Random c(5);
  Context evaluation{.random = &c};
  CHECK_EQ(difference(logits(evaluation), once), 0);
}

TEST_CASE("SoftRouter: names, first values and precision") {
  Setup s;
  SoftRouter paper(64, {.experts = 4, .slots = 8}, s.init);
  CHECK_EQ(paper.state_dict()[0].name, "phi");
  CHECK_EQ(paper.phi.shape(), Shape{64, 4, 8});
  CHECK_EQ(paper.state_dict()[1].name, "scale");
  CHECK_EQ(stddev(paper.phi).item(), doctest::Approx(1.0 / 8).epsilon(0.05));
  SoftRouter other(64,
                   {.experts = 4,
                    .slots = 8,
                    .slot_norm = SlotNorm::layer,
                    .layout = Layout::width_last,
                    .deviation = 1,
                    .names = {.phi = "slot_embeds"}},
                   s.init);
  CHECK_EQ(other.state_dict()[0].name, "slot_embeds");
  CHECK_EQ(other.phi.shape(), Shape{4, 8, 64});
  CHECK_EQ(other.state_dict()[1].name, "slot_norm.gamma");
  CHECK_EQ(other.state_dict()[2].name, "slot_norm.beta");
  CHECK_EQ(other.named_parameters().size(), 2);  // beta is not trained

  for (const SlotNorm norm : {SlotNorm::none, SlotNorm::l2, SlotNorm::rms, SlotNorm::layer}) {
    SoftRouter router(8, {.experts = 4, .slots = 2, .slot_norm = norm}, s.init);
    router.to(DType::bf16);
    const Tensor x = random_tensor({2, 5, 8}, 1, -1, 1, DType::bf16);
    const Routing narrow = router.route(x, {}, s.context);
    router.to(DType::f32);
    const Routing wide = router.route(widen(x), {}, s.context);
    CHECK(narrow.logits.dtype() == DType::f32);
    CHECK(narrow.combine.dtype() == DType::bf16);
    // cuBLAS chooses a kernel also by how operands are aligned, and each has an order of its own.
    CHECK_LE(difference(narrow.logits, wide.logits), x.device() == Device::cpu ? 0 : 1e-6);
  }
}

TEST_CASE("SoftRouter: what makes no sense is refused") {
  Setup s;
  CHECK_THROWS_WITH_AS(SoftRouter(4, {.experts = 0}, s.init),
                       "SoftRouter: experts and slots must be >= 1; got experts = 0, slots = 1", Error);
  CHECK_THROWS_WITH_AS(SoftRouter(4, {.slots = -2}, s.init),
                       "SoftRouter: experts and slots must be >= 1; got experts = 8, slots = -2", Error);
  CHECK_THROWS_WITH_AS(SoftRouter(4, {.noise = {.factor = -1}}, s.init),
                       "SoftRouter: the factor of the noise must be >= 0; got -1", Error);
  SoftRouter router(4, {}, s.init);
  CHECK_THROWS_WITH_AS(router.route(zeros({2, 3, 5}, DType::f64), {}, s.context),
                       "SoftRouter: x must be [G, N, 4]; got [2, 3, 5]", ShapeError);
  CHECK_THROWS_WITH_AS(router.route(zeros({2, 4}, DType::f64), {}, s.context),
                       "SoftRouter: x must be [G, N, 4]; got [2, 4]", ShapeError);
}
