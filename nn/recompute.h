// Recomputation of layers: checkpoint(..) of ops/autodiff/checkpoint.h for functions that take a Context. (Files that a
// training writes are in nn/checkpoint.h.)
#pragma once
#include <functional>
#include <vector>

#include "nn/context.h"
#include "ops/autodiff/checkpoint.h"

namespace moegrad {

/// y = fn(x, context), of whose inner values nothing is kept: backward runs fn again with the same random draws and the
/// same routes. What a pass leaves in the context is what it leaves without checkpoint:
///   losses   are outputs beside y, and continue the sums that the context holds, in the same order of additions. Their
///            gradients flow through the recomputation
///   records  are made once, under the same paths; draws are taken once from the context's stream
///   y = checkpoint([&block](const Tensor& in, Context& c) { return block.forward(in, c); }, x, context);
/// Cards of memory, gradient and errors: ops/autodiff/checkpoint.h. fn must not keep its Context.
Tensor checkpoint(const std::function<Tensor(const Tensor&, Context&)>& fn, const Tensor& x, Context& context);
std::vector<Tensor> checkpoint(const std::function<std::vector<Tensor>(const std::vector<Tensor>&, Context&)>& fn,
                               const std::vector<Tensor>& xs, Context& context);

}  // namespace moegrad
