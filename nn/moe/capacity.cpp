#include "nn/moe/capacity.h"

#include <fmt/format.h>

#include <cmath>

#include "ops/ops.h"

namespace moegrad {

const Capacity& checked(const char* who, const Capacity& c) {
  if (!(c.factor >= 0) || !std::isfinite(c.factor))
    throw Error(fmt::format("{}: capacity.factor must be >= 0 and finite; got {}", who, c.factor));
  if (c.least < 0 || c.slots < 0)
    throw Error(
        fmt::format("{}: capacity.least and capacity.slots must be >= 0; got {} and {}", who, c.least, c.slots));
  return c;
}

i64 Capacity::of(i64 tokens, i64 choices, i64 experts) const {
  const auto n = static_cast<double>(tokens), e = static_cast<double>(experts);
  const double share = factor * n * static_cast<double>(rule == Rule::choices ? choices : 1) / e;
  // 1.1 * 100 / 10 is a little more than 11: what rounding added is no slot.
  const double exact = rule == Rule::choices ? std::ceil(share - std::min(share * 0x1p-50, 0.5)) : std::floor(share);
  const double wanted = slots > 0 ? static_cast<double>(slots) : std::max(exact, static_cast<double>(least));
  if (!(wanted <= 0x1p40))
    throw ShapeError(
        fmt::format("capacity: an expert must have at most 2^40 slots; got {} for {} tokens", wanted, tokens));
  return static_cast<i64>(wanted);
}

Tensor service_order(Priority priority, const Tensor& scores, Context& context) {
  switch (priority) {
    case Priority::first_come: return {};
    case Priority::best_gate: return argsort(amax(scores, -1), -1, true);
    case Priority::random: break;
  }
  if (!context.training) return {};
  return argsort(context.noise(Noise::uniform, {scores.dim(0), scores.dim(1)}, scores.dtype()), -1);
}

Slots ordered_capacity_slots(const Tensor& chosen, const Tensor& order, i64 experts, i64 capacity) {
  if (!order) return capacity_slots(chosen, experts, capacity);
  const Slots served = capacity_slots(take_along(chosen, 1, unsqueeze(order, -1)), experts, capacity);
  const Tensor none = scalar_like(-1, chosen), choices = scalar_like(static_cast<double>(chosen.dim(2)), chosen);
  const Tensor used = ge(served.token, scalar_like(0, served.token));
  const Tensor token = take_along(order, 1, served.token), k = served.row - served.token * choices;
  return {where(used, token * choices + k, none), where(used, token, none), {}};
}

}  // namespace moegrad
