// Normalisation and softmax.
#include "ops/norm.h"

#include "ops/channel_norm.h"
#include "ops/normalize.h"
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

ChannelStatistics running_statistics(Inputs& x, Arguments& a) {
  const Tensor zero = zeros({x[0].dim(1)}, x[0].dtype());
  const ChannelStatistics start{zero + a.number("start_mean", 0), zero + a.number("start_var", 1)};
  return update_statistics(start, x[0], a.number("momentum", 0.1));
}

Ops batch_norms() {
  return {{"batch_norm_eval",
           [](Inputs& x, Arguments& a) {
             return batch_norm(x[0], {x[1], x[2]}, x.maybe(3), x.maybe(4), a.number("eps", 1e-5));
           }},
          {"batch_norm_running_stats",
           [](Inputs& x, Arguments& a) {
             const ChannelStatistics now = running_statistics(x, a);
             return Outputs{now.mean, now.variance};
           }},
          {"batch_norm_train",
           [](Inputs& x, Arguments& a) { return batch_norm(x[0], x.maybe(1), x.maybe(2), a.number("eps", 1e-5)); }}};
}

Ops norms() {
  return {
      {"group_norm",
       [](Inputs& x, Arguments& a) {
         return group_norm(x[0], a.integer("num_groups"), x.maybe(1), x.maybe(2), a.number("eps", 1e-5));
       }},
      {"layer_norm",
       [](Inputs& x, Arguments& a) {
         return layer_norm(x[0], a.shape("normalized_shape"), x.maybe(1), x.maybe(2), a.number("eps", 1e-5));
       }},
      {"normalize",
       [](Inputs& x, Arguments& a) {
         return normalize(x[0], a.number("p", 2), a.axis("dim", 1), a.number("eps", 1e-12));
       }},
      {"rms_norm", [](Inputs& x, Arguments& a) { return rms_norm(x[0], x.maybe(1), a.number("eps", 1e-6)); }},
      {"rms_norm_l2", [](Inputs& x, Arguments& a) { return rms_norm_l2(x[0], x.maybe(1), a.number("eps", 1e-12)); }}};
}

}  // namespace

Ops norm_ops() {
  Ops all = softmaxes();
  all.merge(norms());
  all.merge(batch_norms());
  return all;
}

}  // namespace moegrad::golden
