// Derivatives of functions: products with the Jacobian from either side, and the Jacobian and Hessian themselves.
//
// fn is a function of tensors, written with ops, that gives the same result each time it is called with the same
// inputs. It may use other tensors, too; they count as constants here, but with create_graph the results can be
// differentiated with respect to them. Inputs are floating tensors (a structured one-hot counts as its dense form),
// of any shape, also empty ones. What fn's output does not depend on has derivatives of zeros.
//
//   options.create_graph   as in grad(): the results are in a graph, so that derivatives nest; values alone otherwise
//   Errors  DTypeError: an input is not floating.  Error: fn returned an empty handle.  Whatever fn throws
#pragma once
#include <functional>
#include <vector>

#include "core/autograd.h"

namespace moegrad {

using Function = std::function<Tensor(const std::vector<Tensor>&)>;
using FunctionOfOne = std::function<Tensor(const Tensor&)>;

/// dxs[i] = dy^T J_i with J_i = d fn / d xs[i], and y = fn(xs): one forward and one backward.
///   Shapes  dy as y, dxs[i] as xs[i].   Errors: ShapeError, DTypeError: dy is not like y
struct Vjp {
  Tensor y;
  std::vector<Tensor> dxs;
};
Vjp vjp(const Function& fn, const std::vector<Tensor>& xs, const Tensor& dy, GradOptions options = {});

/// dy = sum_i J_i tangents[i], and y = fn(xs).
///   Shapes  tangents as xs, dy as y.   Errors: Error, ShapeError, DTypeError: tangents are not like xs
/// u^T J t is linear in u, so its gradient in u is J t: the vjp of the vjp, one forward and two backwards.
struct Jvp {
  Tensor y, dy;
};
Jvp jvp(const Function& fn, const std::vector<Tensor>& xs, const std::vector<Tensor>& tangents,
        GradOptions options = {});

/// sum_j H_ij vs[j] for every input i, where H is the Hessian of fn, which returns one element: the gradient of the
/// gradient's product with vs.
///   Errors  ShapeError: fn returns more than one element, or vs are not like xs; Error, DTypeError as jvp
std::vector<Tensor> hvp(const Function& fn, const std::vector<Tensor>& xs, const std::vector<Tensor>& vs,
                        GradOptions options = {});

/// J_i = d fn / d xs[i], with the axes of y before those of xs[i]. One backward per element of y.
///   Errors  ShapeError: y and an input have more than 12 axes together
std::vector<Tensor> jacobian(const Function& fn, const std::vector<Tensor>& xs, GradOptions options = {});

/// H_ij = d^2 fn / d xs[i] d xs[j], with the axes of xs[i] before those of xs[j], where fn returns one element.
///   Errors  ShapeError: fn returns more than one element, or two inputs have more than 12 axes together
std::vector<std::vector<Tensor>> hessian(const Function& fn, const std::vector<Tensor>& xs, GradOptions options = {});

/// The same for a function of one tensor.
struct VjpOfOne {
  Tensor y, dx;
};
VjpOfOne vjp(const FunctionOfOne& fn, const Tensor& x, const Tensor& dy, GradOptions options = {});
Jvp jvp(const FunctionOfOne& fn, const Tensor& x, const Tensor& tangent, GradOptions options = {});
Tensor hvp(const FunctionOfOne& fn, const Tensor& x, const Tensor& v, GradOptions options = {});
Tensor jacobian(const FunctionOfOne& fn, const Tensor& x, GradOptions options = {});
Tensor hessian(const FunctionOfOne& fn, const Tensor& x, GradOptions options = {});

}  // namespace moegrad
