// A look at the gradient where it passes, as an op.
#pragma once
#include <functional>
#include <type_traits>
#include <utility>

#include "core/tensor.h"

namespace moegrad {

namespace detail {
Tensor on_gradient(const Tensor& x, std::function<Tensor(const Tensor&)> f);
}

/// y = x. When backward passes, f is called with the gradient of y; what f returns takes its place on the way to x. An
/// f that returns nothing only looks: on_gradient(x, [](const Tensor& g) { std::cout << g; }).
///   Shapes    as x; what f returns has the shape and dtype of x
///   Order     f sees the sum over all uses of y (uses of x itself go past it), once per backward, after everything
///             that y went into. Of two in a row the one applied last is called first. Without a use of y it is not
///             called, nor where x needs no gradient or recording is off: then y is x
///   Gradient  dx = f(dy). Under create_graph dy is in the graph: what f computes with ops is differentiated, too, and
///             f is called again for the gradient of the gradient that comes this way
///   Errors    ShapeError, DTypeError: f returned something unlike x.  Error: f returned an empty handle
template <class F> Tensor on_gradient(const Tensor& x, F f) {
  if constexpr (std::is_void_v<std::invoke_result_t<F&, const Tensor&>>)
    return detail::on_gradient(x, [f = std::move(f)](const Tensor& dy) mutable {
      f(dy);
      return dy;
    });
  else
    return detail::on_gradient(x, std::move(f));
}

}  // namespace moegrad
