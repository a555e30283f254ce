// Losses.
#include "ops/loss.h"

#include "nn/moe/losses.h"
#include "ops/cross_entropy.h"
#include "ops/normalize.h"
#include "ops/probability_loss.h"
#include "ops/unary.h"
#include "tests/golden/adapters.h"

namespace moegrad::golden {
namespace {

Reduction reduction(Arguments& a) {
  const std::string name = a.text("reduction", "mean");
  if (name == "mean") return Reduction::mean;
  if (name == "sum") return Reduction::sum;
  if (name == "none") return Reduction::none;
  if (name == "batchmean") return Reduction::batch_mean;
  throw CaseError("unknown reduction '" + name + "'");
}

// Classes lie on axis 1, on the only one where there are no rows.
int class_axis(const Tensor& x) { return x.rank() > 1 ? 1 : 0; }

Outputs cross_entropy_of(Inputs& x, Arguments& a) {
  return cross_entropy(x[0], x[1],
                       {.label_smoothing = a.number("label_smoothing", 0),
                        .ignore_index = a.integer("ignore_index", -100),
                        .reduction = reduction(a),
                        .weight = x.maybe(2),
                        .axis = class_axis(x[0])});
}

Ops of_classes() {
  return {{"cross_entropy", cross_entropy_of},
          {"cross_entropy_prob", cross_entropy_of},
          {"entr", of_one(entr)},
          {"entropy", [](Inputs& x, Arguments& a) { return entropy(x[0], a.axis("dim", -1)); }},
          {"kl_div",
           [](Inputs& x, Arguments& a) { return kl_div_loss(x[0], x[1], reduction(a), a.flag("log_target", false)); }},
          {"nll_loss",
           [](Inputs& x, Arguments& a) {
             return nll_loss(x[0], x[1],
                             {.ignore_index = a.integer("ignore_index", -100),
                              .reduction = reduction(a),
                              .weight = x.maybe(2),
                              .axis = class_axis(x[0])});
           }},
          {"normal_cdf", of_one(normal_cdf)},
          {"router_z_loss", [](Inputs& x, Arguments&) { return router_z_loss(x[0]); }}};
}

Ops of_two_classes() {
  return {{"bce", [](Inputs& x,
                     Arguments& a) { return bce_loss(x[0], x[1], {.reduction = reduction(a), .weight = x.maybe(2)}); }},
          {"bce_with_logits", [](Inputs& x, Arguments& a) {
             return bce_with_logits_loss(x[0], x[1], {.reduction = reduction(a), .positive_weight = x.maybe(2)});
           }}};
}

Ops of_numbers() {
  return {
      {"cosine_similarity",
       [](Inputs& x, Arguments& a) { return cosine_similarity(x[0], x[1], a.axis("dim", 1), a.number("eps", 1e-8)); }},
      {"huber_loss",
       [](Inputs& x, Arguments& a) { return huber_loss(x[0], x[1], a.number("delta", 1), reduction(a)); }},
      {"l1_loss", [](Inputs& x, Arguments& a) { return l1_loss(x[0], x[1], reduction(a)); }},
      {"mse_loss", [](Inputs& x, Arguments& a) { return mse_loss(x[0], x[1], reduction(a)); }},
      {"smooth_l1_loss",
       [](Inputs& x, Arguments& a) { return smooth_l1_loss(x[0], x[1], a.number("beta", 1), reduction(a)); }}};
}

}  // namespace

Ops loss_ops() {
  Ops all = of_classes();
  all.merge(of_two_classes());
  all.merge(of_numbers());
  return all;
}

}  // namespace moegrad::golden
