// Memory for time: what a function computes on its way is computed again in backward instead of being kept.
#pragma once
#include <functional>
#include <vector>

#include "ops/autodiff/derivatives.h"

namespace moegrad {

using ManyFunction = std::function<std::vector<Tensor>(const std::vector<Tensor>&)>;

/// ys = fn(xs), with the gradients of fn; of its inner values nothing is kept.
///   Memory    between forward and backward: xs, ys and the tensors that fn uses besides; in backward what fn keeps by
///             itself. fn runs twice. A scaled one-hot is made dense where it is an argument or a result; where fn
///             captures it, it stays as it is
///   Gradient  to xs and to every tensor that fn uses besides (parameters, or results of ops): the first run finds
///             them. Bit for bit what fn gives without checkpoint where a parameter is used within one checkpoint only;
///             sums over uses inside and outside are added in another order. Any order; checkpoints nest
///   Repeats   the choices of the first run (core/choose.h), whatever the scores say, and random draws that fn holds by
///             name (core/random.h). nn/recompute.h does the same for layers that take a Context
///   Keeps     fn until backward, so what it captures must live as long. Outputs that are not floating have no gradient
///   Off       under no_grad it is fn(xs)
///   Errors    Error: fn returned an empty handle.  GradError, in backward: fn did not do the same again
///   Source    Training deep nets with sublinear memory cost (2016), arXiv:1604.06174
std::vector<Tensor> checkpoint(const ManyFunction& fn, const std::vector<Tensor>& xs);
Tensor checkpoint(const Function& fn, const std::vector<Tensor>& xs);
Tensor checkpoint(const FunctionOfOne& fn, const Tensor& x);

}  // namespace moegrad
