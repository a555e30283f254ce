#include "nn/moe/losses.h"

#include <fmt/format.h>

#include <cmath>

#include "ops/ops.h"

namespace moegrad {
namespace {

void check_mask(const char* who, const Tensor& mask, const Tensor& rows) {
  if (!mask) return;
  if (mask.dtype() != DType::boolean) throw_dtype(who, "bool (mask)", mask.dtype());
  Shape want = rows.shape();
  want.pop_back();
  if (mask.shape() != want)
    throw ShapeError(fmt::format("{}: mask must be {}; got {}", who, to_string(want), to_string(mask.shape())));
}

void check_logits(const char* who, const Tensor& logits, const Tensor& mask) {
  if (logits.rank() == 0 || logits.dim(-1) == 0)
    throw ShapeError(fmt::format("{}: logits must be [.., E] with E >= 1; got {}", who, to_string(logits.shape())));
  check_mask(who, mask, logits);
}

void check_probabilities(const char* who, const Tensor& p, const Tensor& mask) {
  if (p.rank() != 3 || p.dim(2) == 0)
    throw ShapeError(fmt::format("{}: probabilities must be [G, N, E] with E >= 1; got {}", who, to_string(p.shape())));
  check_mask(who, mask, p);
}

// What masked rows are replaced with, so that not even a NaN of theirs is left.
Tensor unmasked(const Tensor& rows, const Tensor& mask) {
  return mask ? where(mask, rows, scalar_like(0, rows)) : rows;
}

// 1 / the number of tokens along `axes` of the rows, 1 where there are none: what makes a mean of a sum.
Tensor per_token(const Tensor& rows, const Tensor& mask, const Axes& axes) {
  const Tensor one = scalar_like(1, rows);
  const Tensor n = mask ? cast(sum(mask, axes), rows.dtype()) : sum(expand(one, rows.shape()), axes);
  return reciprocal(maximum(n, one));
}

// Mean over the rows that are tokens.
Tensor mean_of(const Tensor& rows, const Tensor& mask) {
  return sum(unmasked(rows, mask)) * per_token(rows, mask, all_axes(rows.shape()));
}

}  // namespace

// ---- load balancing

namespace {

Tensor terms_of(const char* who, const Tensor& p, const Tensor& chosen, const Tensor& mask, Share share) {
  if (p.rank() != 3 || chosen.rank() != 3 || p.dim(0) != chosen.dim(0) || p.dim(1) != chosen.dim(1))
    throw ShapeError(fmt::format("{}: probabilities must be [G, N, E] and chosen [G, N, K]; got {} and {}", who,
                                 to_string(p.shape()), to_string(chosen.shape())));
  check_probabilities(who, p, mask);
  const i64 experts = p.dim(2), choices = std::max<i64>(chosen.dim(2), 1);
  const Tensor here = mask ? unsqueeze(mask, -1) : Tensor{};
  const Tensor counted = mask ? where(here, chosen, scalar_like(-1, chosen)) : chosen;
  const Tensor counts = cast(dense(sum(one_hot(counted, experts), {1, 2})), p.dtype());  // [G, E], no gradient
  const Tensor share_of_token = unsqueeze(per_token(select(p, 2, 0), mask, {1}), -1);    // [G, 1]
  const Tensor f = counts * share_of_token / static_cast<double>(share == Share::choices ? choices : 1);
  return f * (sum(unmasked(p, here), 1) * share_of_token) * static_cast<double>(experts * experts);
}

}  // namespace

Tensor load_balancing_terms(const Tensor& p, const Tensor& chosen, const Tensor& mask, Share share) {
  return terms_of("load_balancing_terms", p, chosen, mask, share);
}

Tensor load_balancing_loss(const Tensor& p, const Tensor& chosen, const Tensor& mask) {
  const Tensor terms = terms_of("load_balancing_loss", p, chosen, mask, Share::choices);
  const Tensor per_group = mean(terms, 1);  // [G]
  return mean_of(per_group, mask ? any(mask, 1) : Tensor{});
}

// ---- logits

Tensor router_z_loss(const Tensor& logits, const Tensor& mask) {
  check_logits("router_z_loss", logits, mask);
  return mean_of(square(logsumexp(logits, -1)), mask);
}

Tensor token_entropy_loss(const Tensor& logits, const Tensor& mask) {
  check_logits("token_entropy_loss", logits, mask);
  const Tensor log_p = log_softmax(logits, -1);  // where p is 0, p log p is 0 and has a gradient
  return mean_of(neg(sum(exp(log_p) * log_p, -1)), mask);
}

// ---- how much each expert is used

Tensor importance(const Tensor& gates, const Tensor& chosen, i64 experts) {
  if (gates.rank() != 3 || gates.shape() != chosen.shape())
    throw ShapeError(fmt::format("importance: gates and chosen must both be [G, N, K]; got {} and {}",
                                 to_string(gates.shape()), to_string(chosen.shape())));
  return dense(sum(unsqueeze(gates, -1) * one_hot(chosen, experts), {0, 1, 2}));
}

Tensor cv_squared(const Tensor& x, CvOptions options) {
  if (x.rank() == 0) throw ShapeError("cv_squared: x must be [.., E]; got []");
  if (options.correction < 0 || !(options.epsilon >= 0))
    throw Error(fmt::format("cv_squared: correction and epsilon must be >= 0; got {} and {}", options.correction,
                            options.epsilon));
  const i64 n = x.dim(-1);
  if (n <= options.correction || n == 0) return sum(x * 0.0, -1);
  if (options.epsilon == 0) {  // of x over its mean, whose square might overflow, or be 0
    const Tensor middle = mean(x, -1, keep_dims), none = eq(middle, scalar_like(0, middle));
    const Tensor y = var(x / masked_fill(middle, none, 1), -1, {.correction = options.correction});
    return masked_fill(y, squeeze(none, -1), 0);
  }
  return var(x, -1, {.correction = options.correction}) / (square(mean(x, -1)) + options.epsilon);
}

Tensor balance_entropy_loss(const Tensor& p, const Tensor& mask) {
  check_probabilities("balance_entropy_loss", p, mask);
  const Tensor first = select(p, 2, 0);  // [G, N]
  const Tensor total = sum(unmasked(p, mask ? unsqueeze(mask, -1) : Tensor{}), {0, 1});
  const Tensor mean_p = total * per_token(first, mask, {0, 1});  // [E]
  // Below 1e-30 the slope of the logarithm would no longer cancel against that of the softmax.
  const Tensor entropy = neg(sum(mean_p * log(clamp(mean_p, 1e-30, 2))));
  const Tensor some = mask ? any(mask) : full({}, first.size() > 0 ? 1 : 0, DType::boolean, p.device());
  return where(some, std::log(static_cast<double>(p.dim(2))) - entropy, scalar_like(0, p));
}

Tensor l2_mass_entropy(const Tensor& mass) {
  if (mass.rank() == 0) throw ShapeError("l2_mass_entropy: mass must be [.., E]; got []");
  const Tensor length = norm(mass, 2, -1, keep_dims);
  return entr(mass / maximum(length, scalar_like(1e-6, mass)));
}

// ---- into the context

void RouterLosses::add(Context& context, const Routing& r, const ExpertUse& use, const Tensor& mask) const {
  if (load_balancing) context.add_loss("load_balancing", load_balancing_loss(r.probabilities, r.chosen, mask));
  if (router_z) context.add_loss("router_z", router_z_loss(r.logits, mask));
  if (importance) context.add_loss("importance", cv_squared(use.importance));
  if (load) context.add_loss("load", use.load ? cv_squared(use.load) : zeros({}, r.logits.dtype(), r.logits.device()));
  if (balance_entropy) context.add_loss("balance_entropy", balance_entropy_loss(r.probabilities, mask));
  if (token_entropy) context.add_loss("token_entropy", token_entropy_loss(r.logits, mask));
}

}  // namespace moegrad
