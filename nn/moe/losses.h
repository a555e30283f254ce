// Auxiliary losses of routers. Means are over tokens that are not masked; where there are none, a loss is 0.
#pragma once
#include "nn/moe/routing.h"

namespace moegrad {

/// What f_e is a share of: of the N K choices, so that it sums to 1 over experts, or of the N tokens (sum K).
enum class Share { choices, tokens };

/// E^2 f_e p_e for every group and expert: f_e is the share of choices that fell on expert e, p_e its mean probability.
///   Shapes    probabilities [G, N, E], chosen i64 [G, N, K] with -1 = none, mask bool [G, N] or an empty handle (all
///             are tokens) -> [G, E]; 0 in groups without tokens
///   Gradient  through p only
///   Errors    ShapeError: the shapes are others
Tensor load_balancing_terms(const Tensor& probabilities, const Tensor& chosen, const Tensor& mask = {},
                            Share share = Share::choices);

/// E sum_e f_e p_e, the mean of these terms over experts and over the groups that have tokens: 1 where both are uniform,
/// E where one expert has everything.
///   Shapes   as load_balancing_terms -> scalar
///   Source   Switch transformers (2021), arXiv:2101.03961, equations 4 to 6; for K > 1 the share is of N K choices
Tensor load_balancing_loss(const Tensor& probabilities, const Tensor& chosen, const Tensor& mask = {});

/// mean over tokens of (log sum_e exp logits_e)^2: keeps logits small.
///   Shapes   logits [.., E], mask bool [..] or an empty handle -> scalar, in nats squared
///   Errors   ShapeError: E is 0, the mask has not the shape of the rows
///   Source   ST-MoE (2022), arXiv:2202.08906, equation 5
Tensor router_z_loss(const Tensor& logits, const Tensor& mask = {});

/// Sum of the gates that an expert got, over all tokens of the batch.
///   Shapes   gates [G, N, K] with a gradient, chosen i64 [G, N, K] with -1 = none -> [E]
///   Source   Outrageously large neural networks (2017), arXiv:1701.06538, equation 6
Tensor importance(const Tensor& gates, const Tensor& chosen, i64 experts);

struct CvOptions {
  i64 correction = 0;  ///< the variance is divided by n - correction
  double epsilon = 0;  ///< added to the squared mean
};
/// Squared coefficient of variation along the last axis, var(x) / mean(x)^2: 0 where all are equal. Of importance or
/// of an estimate of the load it is the loss of Shazeer et al.
///   Shapes   x [.., E] -> [..]; 0 where the mean is 0 or E <= correction
///   Errors   ShapeError: x has no axis.  Error: a negative correction or epsilon
///   Source   arXiv:1701.06538, equations 7 and 11; they leave open which variance it is
Tensor cv_squared(const Tensor& x, CvOptions options = {});

/// log E - H(p), p the mean distribution over all tokens: 0 where experts are used alike, log E where one has
/// everything. To minimise it is to maximise the entropy of the mean.
///   Shapes   probabilities [G, N, E], mask bool [G, N] or an empty handle -> scalar, in nats
Tensor balance_entropy_loss(const Tensor& probabilities, const Tensor& mask = {});

/// mean over tokens of H(softmax(logits)): 0 where every token is certain of its expert, log E where none is. To
/// minimise it makes routers decided; with balance_entropy_loss it maximises the mutual information of token and expert.
///   Shapes   logits [.., E], finite; mask bool [..] or an empty handle -> scalar, in nats
///   Errors   as router_z_loss
Tensor token_entropy_loss(const Tensor& logits, const Tensor& mask = {});

/// -r log r for every element of r = mass / max(|mass|, 1e-6), |mass| the Euclidean norm along the last axis. moefy adds
/// it as a loss. r is no distribution, and to minimise the sum rewards collapse: balance_entropy_loss is what is meant.
///   Shapes   mass [.., E], not negative -> same shape
Tensor l2_mass_entropy(const Tensor& mass);

/// What experts got, smoothly: [E] each, or an empty handle where it is not needed.
struct ExpertUse {
  Tensor importance, load;
};

/// Which losses a router adds to the context, each under its name, unweighted.
struct RouterLosses {
  bool load_balancing = true;  ///< routers of tokens only: with expert choice, loads are equal as they are
  bool router_z = true;
  bool importance = false;  ///< cv_squared of `importance`
  bool load = false;        ///< cv_squared of noisy_top_k_load (nn/moe/noise.h); 0 without gaussian noise
  bool balance_entropy = false;
  bool token_entropy = false;

  void add(Context& context, const Routing& routing, const ExpertUse& use, const Tensor& mask) const;
};

}  // namespace moegrad
