#include "ops/autodiff/on_gradient.h"

#include <fmt/format.h>

#include "core/autograd.h"

namespace moegrad {

Tensor detail::on_gradient(const Tensor& x_any, std::function<Tensor(const Tensor&)> f) {
  if (!recording() || !x_any.requires_grad()) return x_any;
  const Tensor x = dense(x_any);
  return record("on_gradient", view_of(x, x.shape(), x.strides(), x.body().offset), {x}, saves(kNone),
                [f = std::move(f)](const GradArgs& g) -> Grads {
                  const Tensor dx = f(g.dy);
                  if (!dx) throw Error("on_gradient: f must return a gradient or nothing; got an empty handle");
                  check_same_dtype("on_gradient", dx, g.dy);
                  if (dx.shape() != g.dy.shape())
                    throw ShapeError(fmt::format("on_gradient: f must return a gradient like that of x; got {} for {}",
                                                 to_string(dx.shape()), to_string(g.dy.shape())));
                  return {dx};
                });
}

}  // namespace moegrad
