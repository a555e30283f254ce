// Gradients of layers and models against central differences.
#pragma once
#include "nn/module.h"
#include "ops/autodiff/gradcheck.h"

namespace moegrad {

/// gradcheck of forward(xs) in xs and in every parameter of the module, at their values; the report names parameters as
/// the module does. The module's tensors are replaced meanwhile and are afterwards what they were.
///   forward  calls the module: [&](const std::vector<Tensor>& in) { Context c; return moe.forward(in[0], c); }
///   names    in `options`: of xs alone; "x0", "x1", .. if not given
///   Errors   DTypeError, before anything runs: a parameter is not f64 (see Module::to).  As gradcheck
GradReport gradcheck(Module& module, const Function& forward, const std::vector<Tensor>& xs = {},
                     GradcheckOptions options = {});

}  // namespace moegrad
