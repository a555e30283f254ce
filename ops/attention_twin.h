// Attention written with public ops: the [queries, keys] matrix is in memory.
#pragma once
#include "ops/attention.h"

namespace moegrad {

/// The same function as attention, whose gradient of higher orders it gives, and all of it where there is a bias.
/// Arguments are checked by attention.
Tensor attention_twin(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options);

}  // namespace moegrad
