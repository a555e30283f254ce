// Lesson 10: a second derivative through a router.
//
// The gradient says how an error L changes with the weights; the second derivative says how the gradient changes. In this
// library a gradient is computed by the same operations as anything else, so it can be a graph itself (`create_graph`),
// and its gradient can be taken. For n weights the second derivative is a matrix H of n x n numbers, too large to
// store; what one wants is its product with a direction v, which is again one gradient:
//
//   H v = d/dw (g . v),   g = dL/dw           and      L(w + t v) = L + t g.v + t^2/2 v.Hv + (something of the size t^3)
//
// A *router* (lessons 5 and 6) makes this interesting. It chooses: each token goes to the expert with the highest
// score. Within a choice everything is smooth; where a choice flips, L jumps. A derivative is therefore always one with
// the choices as they are: the routes are *frozen*. This lesson computes H v three ways, and then walks up to a jump.
#include "examples/lesson.h"

using namespace moegrad;
using namespace lesson;

double dot(const Tensor& a, const Tensor& b) { return sum(a * b).item(); }

int main() {
  begin(10, "a second derivative through a router");

  // ---- one number: s(a) = 1 / (1 + e^-a) has s' = s (1 - s) and s'' = s (1 - s) (1 - 2 s)
  const Tensor a = scalar(0.8, DType::f64).requires_grad_(), s = sigmoid(a);
  const Tensor first = grad(s, {a}, {.create_graph = true})[0];  // a result with a graph of its own
  const Tensor second = grad(first, {a})[0];                     // so it has a gradient
  say("s(a) = 1 / (1 + e^-a) at a = 0.8: s' = {:.6f}, s'' = {:.6f}.", first.item(), second.item());
  check("s' = s (1 - s)", std::abs(first.item() - s.item() * (1 - s.item())) < 1e-15);
  check("s'' = s (1 - s) (1 - 2 s)", std::abs(second.item() - s.item() * (1 - s.item()) * (1 - 2 * s.item())) < 1e-15);

  // ---- a mixture: N tokens of D numbers, E experts that are one matrix each. Every token goes to its best
  // expert, and its gate is that expert's probability, the softmax of its scores
  const i64 N = 8, D = 3, E = 4;
  Random random(11);
  Init init(random, DType::f64);
  const Tensor x = random_normal({1, N, D}, 0, 1, random.next(), DType::f64);
  const Tensor target = random_normal({1, N, D}, 0, 1, random.next(), DType::f64);
  TopKRouter router(D, {.experts = E, .k = 1, .renormalize = false}, init);
  LinearExperts experts(D, {.experts = E}, init);
  // The error as a function of the router's weights w [E, D]: logits, choice, gates, experts, all inside.
  const auto loss = [&](const Tensor& w) {
    router.gate.weight = w;
    Context context;
    const Routing r = router.route(x, {}, context);
    const Tensor out = experts.forward(einsum("gpn,gnd->gpd", r.dispatch, x), r, context);
    return mean(square(einsum("gpn,gpd->gnd", r.combine, out) - target));
  };
  const Tensor start = router.gate.weight.detach(), v = random_normal({E, D}, 0, 1, random.next(), DType::f64);

  // One way: the gradient with a graph, its product with v, and the gradient of that.
  const Tensor w = start.detach().requires_grad_();
  const Tensor g = grad(loss(w), {w}, {.create_graph = true})[0];
  const Tensor hv = grad(sum(g * v), {w})[0];
  say("A mixture of {} experts, one per token, with {} router weights. H v, for a random direction v:", E, w.size());
  show("H v", hv);

  // Another: the library's hvp. A third: the difference of two gradients.
  check_equal("H v by create_graph = hvp(loss, w, v)", hv, hvp(FunctionOfOne(loss), start, v));
  const auto gradient_at = [&](const Tensor& at) {
    const Tensor leaf = at.detach().requires_grad_();
    return grad(loss(leaf), {leaf})[0];
  };
  const double h = 1e-5;
  const Tensor differences = (gradient_at(start + h * v) - gradient_at(start - h * v)) / (2 * h);
  check_equal("H v = (g(w + h v) - g(w - h v)) / 2 h", hv, differences, 1e-9);
  const Tensor u = random_normal({E, D}, 0, 1, random.next(), DType::f64);
  const double uhv = dot(u, hv), vhu = dot(v, hvp(FunctionOfOne(loss), start, u));
  check("H is symmetric: u . H v = v . H u", std::abs(uhv - vhu) < 1e-12);

  // What it is good for: with g and H v one knows L along v up to t^3. Ten times smaller t, 1000 times smaller error.
  const double at_start = loss(start).item(), slope = dot(g.detach(), v), curvature = dot(v, hv);
  const auto missed = [&](double t) {
    return std::abs(loss(start + t * v).item() - (at_start + t * slope + t * t / 2 * curvature));
  };
  say("L = {:.4f}, slope along v {:.4f}, curvature {:.4f}. What this parabola misses of L(w + t v):", at_start, slope,
      curvature);
  for (const double t : {1e-2, 1e-3}) show(fmt::format("t = {:5}  {:.1e}", t, missed(t)));
  check("ten times smaller t, about 1000 times less",
        missed(1e-2) / missed(1e-3) > 900 && missed(1e-2) / missed(1e-3) < 1100);

  // ---- the jump. A tape notes what was chosen.
  const auto routes_at = [&](double t) {
    RouteTape tape;
    const TapeScope scope(tape, TapeMode::record);
    loss(start + t * v);
    return tape;
  };
  const RouteTape here = routes_at(0);
  double before = 0, after = 4;  // the same routes as at t = 0; other routes
  check("far enough along v the tokens choose otherwise", !here.difference(routes_at(after)).empty());
  for (int i = 0; i < 60; ++i) {  // halve the interval until they are neighbours
    const double middle = (before + after) / 2;
    (here.difference(routes_at(middle)).empty() ? before : after) = middle;
  }
  const double jump = loss(start + after * v).item() - loss(start + before * v).item();
  say("Along v a choice flips at t = {:.6f}: {}.", after, here.difference(routes_at(after)));
  say("There L jumps by {:.4f}, because the token's old and new expert answer differently. A difference across the "
      "jump measures the jump, not a slope, and grows without end as h shrinks:",
      jump);
  std::vector<double> quotients;
  for (const double step : {1e-3, 1e-5, 1e-7}) {
    quotients.push_back((loss(start + (after + step) * v).item() - loss(start + (after - step) * v).item()) /
                        (2 * step));
    show(fmt::format("h = {:.0e}  (L(t + h) - L(t - h)) / 2 h = {:.4g}", step, quotients.back()));
  }
  check("L jumps", std::abs(jump) > 1e-4);
  check("100 times smaller h, 100 times larger quotient", std::abs(quotients[2] / quotients[1] / 100 - 1) < 1e-2);

  // Replaying the tape makes the old choices on both sides: L is smooth again, and its slope is what autograd gives.
  const Tensor edge = start + before * v;
  const auto frozen = [&](const Tensor& at) {
    RouteTape tape = here;
    const TapeScope scope(tape, TapeMode::replay);
    return loss(at).item();
  };
  const double by_tape = (frozen(edge + h * v) - frozen(edge - h * v)) / (2 * h);
  say("With the routes frozen, the difference at the same place is {:.6f}; autograd says {:.6f}.", by_tape,
      dot(gradient_at(edge), v));
  check("frozen differences = autograd, beside the jump", std::abs(by_tape - dot(gradient_at(edge), v)) < 1e-8);

  // gradcheck knows: it refuses to compare across a flip, and says so; with frozen routes it checks, to second order.
  const Function fn = [&](const std::vector<Tensor>& in) { return loss(in[0]); };
  const GradReport refused = gradcheck(fn, {edge}),
                   checked = gradcheck(fn, {edge}, {.order = 2, .freeze_routes = true});
  say("gradcheck at this place: {}", refused.text());
  check("it does not call this a wrong gradient, but a flipped choice", !refused.ok && refused.flips);
  check("with freeze_routes, first and second derivatives are right", checked.ok);
  return finish();
}
