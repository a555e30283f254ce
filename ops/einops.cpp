#include "ops/einops.h"

#include <fmt/format.h>

#include <string>

#include "core/print.h"
#include "ops/plan_cache.h"
#include "ops/reduce.h"
#include "ops/views.h"

namespace moegrad {

// ---- rearrange, reduce, repeat

namespace {

PlanCache<EinopsPlan>& plans() {
  thread_local PlanCache<EinopsPlan> cache;
  return cache;
}

std::shared_ptr<const EinopsPlan> plan_of(Pattern::Op op, const Tensor& x, std::string_view pattern,
                                          std::span<const AxisSize> sizes) {
  PlanKey key;
  key.number(static_cast<i64>(op)).text(pattern).list(x.shape());
  for (const AxisSize& s : sizes) key.text(s.name).number(s.size);
  return plans().get(key, [&] { return EinopsPlan::make(op, pattern, x.shape(), sizes); });
}

// From the reduced elementary axes of the left side to y.
Tensor arrange(const Tensor& x, const EinopsPlan& plan) {
  return reshape(expand(reshape(permute(x, plan.order), plan.spread), plan.repeated), plan.result);
}

using Reduction = Tensor (*)(const Tensor&, const Axes&, bool);
struct NamedReduction {
  std::string_view name;
  Reduction apply;
  bool needs_elements = false;
  bool to_bool = false;
};
constexpr NamedReduction kReductions[] = {
    {.name = "sum", .apply = sum},
    {.name = "mean", .apply = mean, .needs_elements = true},
    {.name = "max", .apply = amax, .needs_elements = true},
    {.name = "min", .apply = amin, .needs_elements = true},
    {.name = "prod", .apply = prod},
    {.name = "any", .apply = any, .to_bool = true},
    {.name = "all", .apply = all, .to_bool = true},
};

const NamedReduction& find_reduction(std::string_view pattern, std::string_view wanted) {
  for (const NamedReduction& r : kReductions)
    if (r.name == wanted) return r;
  throw_pattern("reduce", pattern,
                fmt::format("a reduction is one of sum, mean, max, min, prod, any, all; got '{}'", printable(wanted)));
}

// What the ops would refuse under their own names.
void check_reduction(const NamedReduction& r, const Tensor& x, const EinopsPlan& plan, std::string_view pattern) {
  if (r.name == "mean" && !is_float(x.dtype()))
    throw DTypeError(
        fmt::format("{}mean needs a floating dtype; got x {}", pattern_prefix("reduce", pattern), describe(x)));
  if ((r.name == "max" || r.name == "min") && x.dtype() == DType::boolean)
    throw DTypeError(fmt::format("{}{} needs numbers, and bools have any and all; got x {}",
                                 pattern_prefix("reduce", pattern), r.name, describe(x)));
  if (!r.needs_elements) return;
  for (int a : plan.reduced)
    if (plan.split[a] == 0)
      throw ShapeError(fmt::format("{}there must be elements to take the {} of; got x {}",
                                   pattern_prefix("reduce", pattern), r.name, to_string(x.shape())));
}

}  // namespace

Tensor rearrange(const Tensor& x, std::string_view pattern, std::span<const AxisSize> sizes) {
  const auto plan = plan_of(Pattern::Op::rearrange, x, pattern, sizes);
  return arrange(reshape(x, plan->split), *plan);
}

Tensor reduce(const Tensor& x, std::string_view pattern, std::string_view reduction, std::span<const AxisSize> sizes) {
  const NamedReduction& r = find_reduction(pattern, reduction);
  const auto plan = plan_of(Pattern::Op::reduce, x, pattern, sizes);
  check_reduction(r, x, *plan, pattern);
  if (plan->reduced.empty() && is_float(x.dtype()) && !r.to_bool) return arrange(reshape(x, plan->split), *plan);
  return arrange(r.apply(reshape(x, plan->split), plan->reduced, false), *plan);
}

Tensor repeat(const Tensor& x, std::string_view pattern, std::span<const AxisSize> sizes) {
  const auto plan = plan_of(Pattern::Op::repeat, x, pattern, sizes);
  return arrange(reshape(x, plan->split), *plan);
}

i64 einops_plans_made() { return plans().made(); }

}  // namespace moegrad
