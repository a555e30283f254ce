// Reductions and scans.
#include "ops/reduce.h"

#include "ops/cumsum.h"
#include "ops/moments.h"
#include "ops/nonzero.h"
#include "ops/scan.h"
#include "ops/views.h"
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
    const bool keep = a.flag("keepdim", false);
    if (a.has("dim")) return op(x[0], a.axis(), keep);
    return keep ? reshape(of_all(x[0]), Shape(x[0].rank(), 1)) : of_all(x[0]);
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
          {"aminmax",
           [](Inputs& x, Arguments& a) -> Outputs {
             const Axes axes = axes_of(x, a);
             const bool keep = a.flag("keepdim", false);
             return {amin(x[0], axes, keep), amax(x[0], axes, keep)};
           }},
          {"bincount",
           [](Inputs& x, Arguments& a) {
             const i64 least = a.integer("minlength", 0);
             return x.count() > 1 ? bincount(x[0], x[1], least) : bincount(x[0], least);
           }},
          {"cumprod", [](Inputs& x, Arguments& a) { return cumprod(x[0], a.axis()); }},
          {"cumsum", [](Inputs& x, Arguments& a) { return cumsum(x[0], a.axis()); }},
          {"cumsum_exclusive", [](Inputs& x, Arguments& a) { return cumsum(x[0], a.axis(), {.exclusive = true}); }},
          {"logcumsumexp", [](Inputs& x, Arguments& a) { return logcumsumexp(x[0], a.axis()); }},
          {"max_all", of_one(amax)},
          {"max_dim", [](Inputs& x, Arguments& a) { return max_along(x[0], a.axis(), a.flag("keepdim", false)); }},
          {"mean", over_axes(mean)},
          {"min_all", of_one(amin)},
          {"min_dim", [](Inputs& x, Arguments& a) { return min_along(x[0], a.axis(), a.flag("keepdim", false)); }},
          {"prod", over_axes(prod)},
          {"std", [](Inputs& x, Arguments& a) { return stddev(x[0], axes_of(x, a), var_options(a)); }},
          {"sum", over_axes(sum)},
          {"var", [](Inputs& x, Arguments& a) { return var(x[0], axes_of(x, a), var_options(a)); }},
          {"var_mean",
           [](Inputs& x, Arguments& a) -> Outputs {
             const VarMean both = var_mean(x[0], axes_of(x, a), var_options(a));
             return {both.var, both.mean};
           }},
          {"vector_norm", [](Inputs& x, Arguments& a) {
             return norm(x[0], a.number("ord", 2), axes_of(x, a), a.flag("keepdim", false));
           }}};
}

}  // namespace moegrad::golden
