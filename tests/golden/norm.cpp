// Normalisation and softmax.
#include "ops/norm.h"

#include "ops/softmax.h"
#include "tests/golden/adapters.h"

namespace moegrad::golden {
namespace {

Ops softmaxes() {
  return {{"log_softmax", [](Inputs& x, Arguments& a) { return log_softmax(x[0], a.axis()); }},
          {"logsumexp",
           [](Inputs& x, Arguments& a) {
             const Axes axes = a.axes().value_or(all_axes(x[0].shape()));
             return logsumexp(x[0], axes, a.flag("keepdim", false));
           }},
          {"softmax", [](Inputs& x, Arguments& a) { return softmax(x[0], a.axis()); }},
          {"softmax_multi",
           [](Inputs& x, Arguments& a) { return softmax(x[0], a.axes("dims").value_or(all_axes(x[0].shape()))); }},
          {"softmax_of_softmax",
           [](Inputs& x, Arguments& a) { return softmax(softmax(x[0], a.axis("first_dim")), a.axis("second_dim")); }},
          {"softmax_temperature",
           [](Inputs& x, Arguments& a) { return softmax(x[0] / a.number("temperature"), a.axis("dim", -1)); }}};
}

Ops norms() {
  return {{"rms_norm", [](Inputs& x, Arguments& a) { return rms_norm(x[0], x.maybe(1), a.number("eps", 1e-6)); }}};
}

}  // namespace

Ops norm_ops() {
  Ops all = softmaxes();
  all.merge(norms());
  return all;
}

}  // namespace moegrad::golden
