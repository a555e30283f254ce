// einsum as its definition reads: loops over all letters.
#pragma once
#include <string>
#include <vector>

#include "core/tensor.h"

namespace moegrad::test {

/// The f64 result of an equation that einsum accepts, with a tiny parser of its own.
Tensor naive_einsum(const std::string& equation, const std::vector<Tensor>& xs);

}  // namespace moegrad::test
