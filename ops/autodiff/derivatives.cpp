#include "ops/autodiff/derivatives.h"

#include <fmt/format.h>

#include "ops/arithmetic.h"
#include "ops/concat.h"
#include "ops/reduce.h"
#include "ops/slice.h"
#include "ops/views.h"

namespace moegrad {
namespace {

// A point at which a function is differentiated: inputs that stand apart from each other and from what they are made
// of.
struct Point {
  std::vector<Tensor> xs;
  Tensor y;
  bool depends() const { return y.requires_grad(); }
};

Point evaluate(const char* op, const Function& fn, const std::vector<Tensor>& xs, bool create_graph) {
  Point p;
  for (const Tensor& x_any : xs) {
    if (!is_float(x_any.dtype())) throw_dtype(op, "a floating dtype", x_any.dtype());
    const Tensor x = dense(x_any);
    p.xs.push_back(create_graph && x.requires_grad() ? alias(x) : x.detach().requires_grad_());
  }
  p.y = fn(p.xs);
  if (!p.y) throw Error(fmt::format("{}: fn must return a tensor; got an empty handle", op));
  p.y = dense(p.y);
  return p;
}

void check_like(const char* op, const char* what, const std::vector<Tensor>& ts, const std::vector<Tensor>& xs) {
  if (ts.size() != xs.size())
    throw Error(fmt::format("{}: {} must be one for each input; got {} for {}", op, what, ts.size(), xs.size()));
  for (std::size_t i = 0; i < xs.size(); ++i) {
    if (ts[i].dtype() != xs[i].dtype())
      throw DTypeError(fmt::format("{}: {} must be like the inputs; got {} for input {} {}", op, what, describe(ts[i]),
                                   i, describe(xs[i])));
    if (ts[i].shape() != xs[i].shape())
      throw ShapeError(fmt::format("{}: {} must be like the inputs; got {} for input {} {}", op, what, describe(ts[i]),
                                   i, describe(xs[i])));
  }
}

// The gradient, or zeros where there is none.
std::vector<Tensor> gradient(const Tensor& y, const std::vector<Tensor>& xs, const Tensor& dy, GradOptions options) {
  if (y.requires_grad()) return grad(y, xs, dy, options);
  std::vector<Tensor> zero;
  for (const Tensor& x : xs) zero.push_back(zeros_like(x));
  return zero;
}

// What leaves the function: in the graph if that was asked for.
Tensor result(const Tensor& x, const GradOptions& options) { return options.create_graph ? x : x.detach(); }
std::vector<Tensor> results(std::vector<Tensor> xs, const GradOptions& options) {
  for (Tensor& x : xs) x = result(x, options);
  return xs;
}

void check_scalar(const char* op, const Tensor& y) {
  if (y.size() != 1) throw ShapeError(fmt::format("{}: fn must return one element; got y {}", op, describe(y)));
}

void check_ranks(const char* op, const Tensor& y, const std::vector<Tensor>& xs) {
  for (const Tensor& x : xs)
    if (y.rank() + x.rank() > kMaxRank)
      throw ShapeError(fmt::format("{}: the result must have at most {} axes; got {} of {} and {} of {}", op, kMaxRank,
                                   y.rank(), to_string(y.shape()), x.rank(), to_string(x.shape())));
}

// d y / d xs, one row per element of y.
std::vector<Tensor> rows_of_jacobian(const Tensor& y, const std::vector<Tensor>& xs, bool create_graph) {
  std::vector<std::vector<Tensor>> rows(xs.size());
  for (i64 e = 0; e < y.size(); ++e) {
    const Tensor dy = reshape(place(ones({1}, y.dtype(), y.device()), 0, y.size(), e), y.shape());
    const auto g = gradient(y, xs, dy, {.create_graph = create_graph, .retain_graph = true});
    for (std::size_t i = 0; i < xs.size(); ++i) rows[i].push_back(flatten(g[i]));
  }
  std::vector<Tensor> found;
  for (std::size_t i = 0; i < xs.size(); ++i) {
    Shape shape = y.shape();
    for (const i64 n : xs[i].shape()) shape.push_back(n);
    found.push_back(rows[i].empty() ? zeros(shape, xs[i].dtype(), xs[i].device()) : reshape(stack(rows[i], 0), shape));
  }
  return found;
}

Function of_many(const FunctionOfOne& fn) {
  return [&fn](const std::vector<Tensor>& xs) { return fn(xs[0]); };
}

}  // namespace

Vjp vjp(const Function& fn, const std::vector<Tensor>& xs, const Tensor& dy, GradOptions options) {
  Recording on(true);
  const Point p = evaluate("vjp", fn, xs, options.create_graph);
  check_same_dtype("vjp", p.y, dy);
  if (dy.shape() != p.y.shape())
    throw ShapeError(fmt::format("vjp: dy must have the shape of y; got dy {} and y {}", to_string(dy.shape()),
                                 to_string(p.y.shape())));
  return {result(p.y, options), results(gradient(p.y, p.xs, dy, options), options)};
}

Jvp jvp(const Function& fn, const std::vector<Tensor>& xs, const std::vector<Tensor>& tangents, GradOptions options) {
  check_like("jvp", "tangents", tangents, xs);
  Recording on(true);
  const Point p = evaluate("jvp", fn, xs, options.create_graph);
  Tensor u;
  std::vector<Tensor> products;  // u^T J_i, each linear in u
  std::vector<Tensor> with;
  if (p.depends()) {
    u = zeros_like(p.y).requires_grad_();
    const auto g = grad(p.y, p.xs, u, {.create_graph = true});
    for (std::size_t i = 0; i < g.size(); ++i) {
      if (!g[i].requires_grad()) continue;
      products.push_back(g[i]);
      with.push_back(tangents[i]);
    }
  }
  const Tensor dy =
      products.empty() ? zeros_like(p.y) : grad(products, std::span<const Tensor>(&u, 1), with, options)[0];
  return {result(p.y, options), result(dy, options)};
}

std::vector<Tensor> hvp(const Function& fn, const std::vector<Tensor>& xs, const std::vector<Tensor>& vs,
                        GradOptions options) {
  check_like("hvp", "vs", vs, xs);
  Recording on(true);
  const Point p = evaluate("hvp", fn, xs, options.create_graph);
  check_scalar("hvp", p.y);
  std::vector<Tensor> gradients, with;
  if (p.depends()) {
    const auto g = grad(p.y, p.xs, {.create_graph = true});
    for (std::size_t i = 0; i < g.size(); ++i) {
      if (!g[i].requires_grad()) continue;
      gradients.push_back(g[i]);
      with.push_back(vs[i]);
    }
  }
  if (!gradients.empty()) return results(grad(gradients, p.xs, with, options), options);
  return gradient(scalar(0), p.xs, {}, options);
}

std::vector<Tensor> jacobian(const Function& fn, const std::vector<Tensor>& xs, GradOptions options) {
  Recording on(true);
  const Point p = evaluate("jacobian", fn, xs, options.create_graph);
  check_ranks("jacobian", p.y, p.xs);
  return results(rows_of_jacobian(p.y, p.xs, options.create_graph), options);
}

std::vector<std::vector<Tensor>> hessian(const Function& fn, const std::vector<Tensor>& xs, GradOptions options) {
  Recording on(true);
  const Point p = evaluate("hessian", fn, xs, options.create_graph);
  check_scalar("hessian", p.y);
  for (const Tensor& x : p.xs) check_ranks("hessian", x, p.xs);
  std::vector<std::vector<Tensor>> blocks;
  for (const Tensor& g : gradient(p.y, p.xs, {}, {.create_graph = true}))
    blocks.push_back(results(rows_of_jacobian(g, p.xs, options.create_graph), options));
  return blocks;
}

VjpOfOne vjp(const FunctionOfOne& fn, const Tensor& x, const Tensor& dy, GradOptions options) {
  const Vjp r = vjp(of_many(fn), {x}, dy, options);
  return {r.y, r.dxs[0]};
}
Jvp jvp(const FunctionOfOne& fn, const Tensor& x, const Tensor& tangent, GradOptions options) {
  return jvp(of_many(fn), {x}, {tangent}, options);
}
Tensor hvp(const FunctionOfOne& fn, const Tensor& x, const Tensor& v, GradOptions options) {
  return hvp(of_many(fn), {x}, {v}, options)[0];
}
Tensor jacobian(const FunctionOfOne& fn, const Tensor& x, GradOptions options) {
  return jacobian(of_many(fn), {x}, options)[0];
}
Tensor hessian(const FunctionOfOne& fn, const Tensor& x, GradOptions options) {
  return hessian(of_many(fn), {x}, options)[0][0];
}

}  // namespace moegrad
