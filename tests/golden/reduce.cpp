// Reductions and scans.
#include "ops/reduce.h"

#include "ops/cumsum.h"
#include "ops/moments.h"
#include "tests/golden/adapters.h"

namespace moegrad::golden {
namespace {

// The axes that `dim` names; all where it is null or absent.
Axes axes_of(Inputs& x, Arguments& a) { return a.axes().value_or(all_axes(x[0].shape())); }

Op over_axes(Tensor (*op)(const Tensor&, const Axes&, bool)) {
  return [op](Inputs& x, Arguments& a) { return op(x[0], axes_of(x, a), a.flag("keepdim", false)); };
}

VarOptions var_options(Arguments& a) {
  const i64 unbiased = a.flag("unbiased", true) ? 1 : 0;
  return {.correction = a.integer("correction", unbiased), .keep = a.flag("keepdim", false)};
}

Op over_axis(Tensor (*op)(const Tensor&, int, bool), Tensor (*of_all)(const Tensor&)) {
  return [op, of_all](Inputs& x, Arguments& a) {
    if (!a.has("dim")) return a.axes(), of_all(x[0]);
    return op(x[0], a.axis(), a.flag("keepdim", false));
  };
}

}  // namespace

Ops reduce_ops() {
  return {{"all", over_axes(all)},
          {"amax", over_axes(amax)},
          {"amin", over_axes(amin)},
          {"any", over_axes(any)},
          {"argmax", over_axis(argmax, argmax)},
          {"argmin", over_axis(argmin, argmin)},
          {"count_nonzero", over_axes(count_nonzero)},
          {"cumsum", [](Inputs& x, Arguments& a) { return cumsum(x[0], a.axis()); }},
          {"cumsum_exclusive", [](Inputs& x, Arguments& a) { return cumsum(x[0], a.axis(), {.exclusive = true}); }},
          {"max_all", of_one(amax)},
          {"mean", over_axes(mean)},
          {"min_all", of_one(amin)},
          {"prod", over_axes(prod)},
          {"std", [](Inputs& x, Arguments& a) { return stddev(x[0], axes_of(x, a), var_options(a)); }},
          {"sum", over_axes(sum)},
          {"var", [](Inputs& x, Arguments& a) { return var(x[0], axes_of(x, a), var_options(a)); }},
          {"var_mean",
           [](Inputs& x, Arguments& a) -> Outputs {
             const Axes axes = axes_of(x, a);
             const VarOptions options = var_options(a);
             return {var(x[0], axes, options), mean(x[0], axes, options.keep)};
           }},
          {"vector_norm", [](Inputs& x, Arguments& a) {
             return norm(x[0], a.number("ord", 2), axes_of(x, a), a.flag("keepdim", false));
           }}};
}

}  // namespace moegrad::golden
