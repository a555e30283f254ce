// Auxiliary losses of routers.
#pragma once
#include "core/tensor.h"

namespace moegrad {

/// E sum_e f_e p_e, averaged over groups: f_e is the fraction of choices that fell on expert e, p_e its mean
/// probability. 1 where both are uniform, E where one expert has everything. The gradient flows through p only.
///   Shapes   probabilities [G, N, E], chosen i64 [G, N, K] with -1 = none -> scalar; 0 where there are no tokens
///   Source   Switch transformers (2021), arXiv:2101.03961, equations 4 to 6; for K > 1 the fraction is of N K choices
Tensor load_balancing_loss(const Tensor& probabilities, const Tensor& chosen);

/// mean over tokens of (log sum_e exp logits_e)^2: keeps logits small.
///   Shapes   logits [G, N, E] -> scalar, in nats squared; 0 where there are no tokens
///   Source   ST-MoE (2022), arXiv:2202.08906, equation 5
Tensor router_z_loss(const Tensor& logits);

}  // namespace moegrad
