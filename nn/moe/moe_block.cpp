#include "nn/moe/moe_block.h"

#include <fmt/format.h>

#include <cmath>

#include "nn/moe/losses.h"
#include "nn/moe/router_gate.h"
#include "ops/ops.h"

namespace moegrad {
namespace {

using Auxiliary = BlockRouter::Auxiliary;
constexpr double kMaskedScore = -1e30;  // finite, so that a row of them has a softmax

const BlockRouter::Options& checked(const BlockRouter::Options& o) {
  const i64 columns = o.experts + (o.hole ? 1 : 0);
  if (o.experts < 1 || o.k < 1 || (!o.expert_choice && o.k > columns))
    throw Error(fmt::format("MoEBlock: k must be in [1, experts]; got k = {}, experts = {}{}", o.k, o.experts,
                            o.hole ? " and a hole" : ""));
  if (o.auxiliary == Auxiliary::load && o.noise.kind != RouterNoiseKind::gaussian)
    throw Error("MoEBlock: the auxiliary loss 'load' needs gaussian noise; got another kind");
  return o;
}

Tensor at_least(const Tensor& x, double low) { return clamp(x, low, INFINITY); }

}  // namespace

// ---- what was decided

Tensor BlockDecision::selected() const {
  const i64 T = routing.probabilities.dim(1), E = routing.probabilities.dim(2);
  const Tensor counts = experts_chose ? dense(sum(one_hot(picks, T), 1)) : transpose(dense(sum(one_hot(picks, E), 1)));
  return gt(counts, scalar_like(0, counts));  // [E, T]
}

Tensor BlockDecision::routing_matrix() const {
  const Tensor& p = routing.probabilities;
  return reshape(p, {batch, batch == 0 ? 0 : p.dim(1) / batch, p.dim(2)});
}

Tensor BlockDecision::masks() const {
  const Tensor p = move_axis(routing_matrix(), 2, 0);  // [E, B, S]
  return where(reshape(selected(), p.shape()), p, scalar_like(0, p));
}

Tensor BlockDecision::load() const {
  const Tensor p = routing_matrix();
  return sum(reshape(selected(), {p.dim(2), p.dim(0), p.dim(1)}), 1);
}

Tensor BlockDecision::total_load() const { return sum(selected(), 1); }

// ---- router

BlockRouter::BlockRouter(i64 width, Options o, Init& init)
    : options(checked(o)),
      expert_embs(init.orthogonal({width, o.experts + (o.hole ? 1 : 0)})),
      noise(width, o.experts + (o.hole ? 1 : 0), o.noise, init) {
  if (o.noise.kind != RouterNoiseKind::gaussian) return;
  mean = zeros({1}, init.dtype());
  std = ones({1}, init.dtype());
}

void BlockRouter::members(Members& m) {
  m.parameter("expert_embs", expert_embs);
  m.parameter("routing_noise", noise.weight);
  m.buffer("mean", mean);
  m.buffer("std", std);
}

namespace {

// The rows' choice, and which rows and columns are masked: at most one of the two.
struct Rows {
  NoisyScores scores;    // [1, R, C]
  Tensor clean;          // without noise
  Tensor probabilities;  // of masked columns 0
  Tensor row_mask;       // bool [1, R], or an empty handle
  Tensor column_mask;    // bool [1, C], or an empty handle
  Tensor picks;          // i64 [1, R, k]; -1 where a row or what it picked is masked
};

Tensor picks_of(const Rows& r, i64 k) {
  const Tensor picks = top_k(r.probabilities, std::min(k, r.probabilities.dim(-1)), -1).indices;
  const Tensor none = scalar_like(-1, picks);
  if (r.row_mask) return where(unsqueeze(r.row_mask, -1), picks, none);
  if (r.column_mask) return where(index_select(r.column_mask[0], 0, picks), picks, none);
  return picks;
}

// Squared coefficient of variation of x [C] over the columns that are items.
Tensor cv_squared_of(const Tensor& x, const Tensor& column_mask) {
  if (!column_mask) return cv_squared(x);
  const Tensor here = cast(column_mask[0], x.dtype()), n = at_least(sum(here), 1);
  const Tensor mean = sum(x * here) / n, variance = sum(square(x - mean) * here) / n;
  return variance / at_least(square(mean), 1e-30);
}

// log C - H(mean probabilities), C the columns that are items.
Tensor entropy_of(const Rows& r, const Tensor& p) {
  const Tensor loss = balance_entropy_loss(p, r.row_mask);
  if (!r.column_mask) return loss;
  const Tensor n = at_least(cast(sum(r.column_mask), p.dtype()), 1);
  return loss + log(n / static_cast<double>(p.dim(-1)));
}

// Adds the loss to the context; gives it unreduced, [C].
Tensor add_auxiliary(const BlockRouter::Options& o, const Rows& r, i64 k, Context& context) {
  const bool sampled = o.noise.kind == RouterNoiseKind::simple;
  const Tensor p = sampled ? softmax(r.scores.logits, -1) : r.probabilities;
  switch (o.auxiliary) {
    case Auxiliary::none: return {};
    case Auxiliary::balance_entropy: context.add_loss("balance_entropy", entropy_of(r, p)); return {};
    case Auxiliary::l2_mass_entropy: {
      const Tensor counted = r.row_mask ? masked_fill(p, logical_not(unsqueeze(r.row_mask, -1)), 0) : p;
      // Without mass the logarithm has no slope.
      const Tensor terms = l2_mass_entropy(at_least(sum(counted, 1), 1e-30))[0];
      context.add_loss("l2_mass_entropy", sum(terms));
      return terms;
    }
    case Auxiliary::load: break;
  }
  Tensor load = noisy_top_k_load(r.clean, r.scores, k, r.row_mask, o.load)[0];
  if (r.column_mask) load = masked_fill(load, logical_not(r.column_mask[0]), 0);
  context.add_loss("load", cv_squared_of(load, r.column_mask));
  return load;
}

}  // namespace

BlockDecision BlockRouter::decide(const Tensor& x_any, const Tensor& mask_any, Context& context) const {
  check_router_input("MoEBlock", x_any, expert_embs.dim(0), mask_any);
  const i64 T = x_any.dim(0) * x_any.dim(1), E = options.experts;
  const bool experts_choose_items = options.expert_choice;
  if (experts_choose_items && T == 0)
    throw ShapeError(
        fmt::format("MoEBlock: experts can choose only if there are items; got x {}", to_string(x_any.shape())));
  const Tensor x = noise.input(reshape(widen(x_any), {1, T, x_any.dim(2)}), context);
  const Tensor mask = mask_any ? reshape(mask_any, {1, T}) : Tensor{};
  const auto as_rows = [&](const Tensor& t) { return experts_choose_items && t ? swap_axes(t, 1, 2) : t; };

  Rows rows;
  (experts_choose_items ? rows.column_mask : rows.row_mask) = mask;
  const Tensor logits = matmul(x, widen(expert_embs));  // [1, T, E]
  rows.clean = as_rows(logits);                         // [1, R, C]
  const Tensor outside = rows.column_mask ? logical_not(unsqueeze(rows.column_mask, 1)) : Tensor{};
  if (outside) rows.clean = masked_fill(rows.clean, outside, kMaskedScore);
  const i64 k = std::min(options.k, rows.clean.dim(-1));
  rows.scores = noise.apply(rows.clean, as_rows(noise.deviation(x, context)), k, context);
  rows.probabilities = outside ? masked_fill(rows.scores.probabilities, outside, 0) : rows.scores.probabilities;
  rows.picks = picks_of(rows, k);
  const Tensor gates = take_along(rows.probabilities, -1, rows.picks);  // [1, R, k]

  BlockDecision d{.picks = rows.picks[0], .batch = x_any.dim(0), .experts_chose = experts_choose_items};
  if (experts_choose_items) {
    d.routing = experts_choose(slice(gates, 1, {0, E}), slice(rows.picks, 1, {0, E}), T, x_any.dtype());
  } else {
    const Tensor none = scalar_like(-1, rows.picks), hole = scalar_like(static_cast<double>(E), rows.picks);
    const Tensor chosen = where(eq(rows.picks, hole), none, rows.picks);
    d.routing = tokens_choose(gates, chosen, sorted_slots(chosen[0], E), E, x_any.dtype());
  }
  d.routing.logits = logits;
  d.routing.probabilities = as_rows(rows.probabilities);
  if (context.training) d.auxiliary = add_auxiliary(options, rows, k, context);
  context.record("load", d.routing.load);
  return d;
}

Routing BlockRouter::route(const Tensor& x, const Tensor& mask, Context& context) const {
  return decide(x, mask, context).routing;
}

// ---- the layer

namespace {

MoEBlock::Options with_experts(MoEBlock::Options o, std::size_t experts) {
  o.router.experts = static_cast<i64>(experts);
  return o;
}

// x as items [1, T, ..]: its positions, or its images.
Tensor items_of(const Tensor& x, MoEBlock::Route route) {
  if (x.rank() < 2)
    throw ShapeError(fmt::format("MoEBlock: x must be {}; got {}",
                                 route == MoEBlock::Route::tokens ? "[.., S, D]" : "[B, D, ..]", to_string(x.shape())));
  return route == MoEBlock::Route::tokens ? unsqueeze(flatten(x, 0, -2), 0) : unsqueeze(x, 0);
}

}  // namespace

MoEBlock::MoEBlock(i64 width, std::vector<std::unique_ptr<Layer>> list, Options o, Init& init)
    : options(with_experts(o, list.size())),
      router(width, options.router, init),
      experts(std::make_unique<ModuleExperts>(std::move(list))) {}

MoEBlock::MoEBlock(i64 width, std::unique_ptr<Experts> e, Options o, Init& init)
    : options(o), router(width, o.router, init), experts(std::move(e)) {
  if (!experts) throw Error("MoEBlock: it must have experts; got none");
}

void MoEBlock::members(Members& m) {
  m.child("router", router);
  m.child("experts", *experts);
}

Tensor MoEBlock::forward(const Tensor& x, Context& context) const {
  const BlockDecision decision = decide(x, context);
  context.routed(decision.routing);
  return process(x, decision, context);
}

BlockDecision MoEBlock::decide(const Tensor& x, Context& context) const {
  const Tensor items = items_of(x, options.route);  // [1, T, D ..]
  Axes rest;
  for (int a = 3; a < items.rank(); ++a) rest.push_back(a);
  const Tensor vectors = rest.empty() ? items : mean(items, rest);
  const bool images = options.route == Route::images;
  const i64 S = images ? 1 : x.dim(-2);
  i64 B = images ? x.dim(0) : 1;
  for (int a = 0; !images && a < x.rank() - 2; ++a) B *= x.dim(a);
  if (vectors.dim(2) != router.expert_embs.dim(0))
    throw ShapeError(fmt::format("MoEBlock: D must be {}, the router's width; got x {}", router.expert_embs.dim(0),
                                 to_string(x.shape())));
  return router.decide(reshape(vectors, {B, S, vectors.dim(2)}), context.mask_of("MoEBlock", {B, S}), context);
}

Tensor MoEBlock::process(const Tensor& x, const BlockDecision& d, Context& context) const {
  const Tensor items = items_of(x, options.route);
  const Tensor slots = einsum("gpn,gnd->gpd", d.routing.dispatch, flatten(items, 2, -1));
  Shape shape = items.shape();
  shape[1] = slots.dim(1);
  Tensor out;
  {
    const Inside here(context, "experts");
    out = experts->forward(reshape(slots, shape), d.routing, context);
  }
  Tensor y = einsum("gpn,gpd->gnd", d.routing.combine, flatten(out, 2, -1));  // [1, T, D' ..]
  if (options.aggregation == Aggregation::mean) y = y / static_cast<double>(options.router.experts);

  Shape result;
  for (int a = 0; a < (options.route == Route::tokens ? x.rank() - 1 : 1); ++a) result.push_back(x.dim(a));
  for (int a = 2; a < out.rank(); ++a) result.push_back(out.dim(a));
  return reshape(y, result);
}

std::string MoEBlock::title() const {
  const i64 columns = options.router.experts + (options.router.hole ? 1 : 0);
  return fmt::format("layer {}/ MoEBlock ({} experts)",
                     options.layer_id < 0 ? std::string("unk") : std::to_string(options.layer_id), columns);
}

}  // namespace moegrad
