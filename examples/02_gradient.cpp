// Lesson 2: a gradient, three times.
//
// The gradient of a function says how much its value changes when each input changes a little. Training is nothing
// but following the gradient of an error downhill, so everything depends on having it right. Here it is computed by hand,
// by *autograd* (the library notes which operations ran, and applies the chain rule backwards through them), and by
// *finite differences*, which need no calculus at all:
//
//   df/da  is about  (f(a + h) - f(a - h)) / (2 h)
//
// Three ways that share nothing and agree are hard to doubt. Every operation of this library is tested like this.
#include "examples/lesson.h"

using namespace moegrad;
using namespace lesson;

int main() {
  begin(2, "a gradient by hand, by autograd and by finite differences");

  // ---- one function of two numbers
  const double a = 0.7, b = 1.9;
  const auto f = [](double p, double q) { return std::sin(p * q) + p * p; };
  say("f(a, b) = sin(a b) + a^2 at a = {}, b = {}. By hand: df/da = b cos(a b) + 2 a, df/db = a cos(a b).", a, b);
  const double by_hand_a = b * std::cos(a * b) + 2 * a, by_hand_b = a * std::cos(a * b);

  // A leaf is a tensor whose gradient is wanted. Every operation on it is noted in a graph: f = s + q, s = sin(u), ..
  const Tensor ta = scalar(a, DType::f64).requires_grad_(), tb = scalar(b, DType::f64).requires_grad_();
  const Tensor u = ta * tb, s = sin(u), q = square(ta), y = s + q;
  y.backward();  // walks the graph from y to the leaves and leaves there what it found
  say("By autograd: df/da = {:.12f}, df/db = {:.12f}.", ta.grad().item(), tb.grad().item());
  check("df/da by hand = by autograd", std::abs(ta.grad().item() - by_hand_a) < 1e-14);
  check("df/db by hand = by autograd", std::abs(tb.grad().item() - by_hand_b) < 1e-14);

  // What backward() did, written out. For every intermediate result v, dv stands for df/dv. It starts at the end, with
  // df/df = 1, and each operation multiplies what comes from behind by its own derivative.
  const double dy = 1;
  const double ds = dy, dq = dy;                   // y = s + q
  const double du = ds * std::cos(u.item());       // s = sin(u)
  const double da_by_product = du * b;             // u = a b
  const double db_by_product = du * a;             //
  const double da_by_square = dq * 2 * a;          // q = a^2
  const double da = da_by_product + da_by_square;  // a was used twice: its gradients are added
  say("The same walk with a pencil: du = {:.4f}, and a gets {:.4f} from the product and {:.4f} from the square.", du,
      da_by_product, da_by_square);
  check("the pencil = autograd",
        std::abs(da - ta.grad().item()) < 1e-14 && std::abs(db_by_product - tb.grad().item()) < 1e-14);

  // ---- finite differences, and what h to take
  say("Finite differences: the formula's own error shrinks with h^2, but the digits lost in f(a + h) - f(a - h) "
      "grow with 1 / h. In between lies the best h, near 1e-5 for numbers of 16 digits:");
  const auto error_of = [&](double h) { return std::abs((f(a + h, b) - f(a - h, b)) / (2 * h) - by_hand_a); };
  for (int digits = 1; digits <= 11; digits += 2) {
    const double error = error_of(std::pow(10, -digits));
    show(fmt::format("h = 1e-{:<2}  error {:.1e}  {}", digits, error, bar(14 + std::log10(error), 14)));
  }
  check("ten times smaller h, about a hundred times smaller error",
        error_of(1e-2) / error_of(1e-3) > 90 && error_of(1e-2) / error_of(1e-3) < 110);
  check("with h = 1e-5 the gradient by hand is right to 9 digits", error_of(1e-5) < 1e-9);
  check("with h = 1e-11 it is worse again", error_of(1e-11) > error_of(1e-5));

  // ---- one function of many numbers: the error of a linear layer with weights w, averaged over N examples
  Random random(2);
  const i64 N = 8, D = 3, F = 2;  // examples, inputs, outputs
  const auto normal = [&](const Shape& shape) { return random_normal(shape, 0, 1, random.next(), DType::f64); };
  const Tensor x = normal({N, D}), target = normal({N, F});
  const auto loss = [&](const Tensor& w) { return sum(square(matmul(x, transpose(w)) - target)) / double(N); };
  say("Now L(w) = sum (x w^T - t)^2 / N with a matrix w [{}, {}]. By hand: dL/dw = 2 (x w^T - t)^T x / N.", F, D);
  const Tensor w = normal({F, D}).requires_grad_();
  const Tensor dw = grad(loss(w), {w})[0];
  const Tensor by_hand = 2.0 * matmul(transpose(matmul(x, transpose(w)) - target), x) / double(N);
  show("dL/dw", dw);
  check_equal("by hand = by autograd", by_hand, dw);

  // By finite differences: one element of w after the other.
  Tensor differences = zeros({F, D}, DType::f64);
  for (i64 i = 0; i < F; ++i)
    for (i64 j = 0; j < D; ++j) {
      const Tensor step = zeros({F, D}, DType::f64);
      step[i][j].assign(scalar(1e-5, DType::f64));
      differences[i][j].assign((loss(w.detach() + step) - loss(w.detach() - step)) / 2e-5);
    }
  check_equal("finite differences = autograd", differences, dw, 1e-8);
  say("Differences cost two runs of L for each of the {} weights; autograd costs about two more runs for all of "
      "them together, however many there are. That is why networks are trained by it.",
      w.size());

  // A step against the gradient makes the error smaller: this is training.
  const double before = loss(w).item(), after = loss(w.detach() - 0.1 * dw).item();
  say("One step w - 0.1 dL/dw takes L from {:.3f} to {:.3f}.", before, after);
  check("the step went downhill", after < before);

  // The library's gradcheck does all this for any function and any inputs, and names the worst element.
  const GradReport report = gradcheck([&](const std::vector<Tensor>& in) { return loss(in[0]); }, {w.detach()});
  show("gradcheck: " + report.text());
  check("gradcheck agrees", report.ok);
  return finish();
}
