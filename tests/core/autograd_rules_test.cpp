// What the engine asks of gradient rules, and what it does with rules that break it. The ops here are planted.
#include <doctest/doctest.h>

#include <vector>

#include "core/autograd.h"
#include "ops/arithmetic.h"
#include "ops/reduce.h"
#include "ops/unary.h"

using namespace moegrad;

namespace {

Tensor leaf(const Literal& values) {
  Tensor x = tensor(values, DType::f64);
  return x.requires_grad_();
}

// y = 2 x by a planted rule.
template <class Rule> Tensor planted(const Tensor& x, Saves what, Rule rule) {
  no_grad guard;
  const Tensor y = x * 2.0;
  Recording on(true);
  return record("planted", y, {x}, std::move(what), rule);
}
Grads fine(const GradArgs& g) { return {g.dy * 2.0}; }

}  // namespace

TEST_CASE("rules: a read that saves(..) does not declare names op and input") {
  Tensor x = leaf({1, 2});
  const auto run = [&](Saves what, auto rule) { grad(sum(planted(x, std::move(what), rule)), {x}); };
  const auto reads_x = [](const GradArgs& g) -> Grads { return {g.in(0)}; };
  const auto reads_y = [](const GradArgs& g) -> Grads { return {g.y()}; };
  const auto reads_extra = [](const GradArgs& g) -> Grads { return {g.extra(0)}; };
  const auto reads_second = [](const GradArgs& g) -> Grads { return {g.in(1)}; };
  CHECK_THROWS_WITH_AS(run(saves(kY), reads_x), "planted: its gradient reads input 0, which saves(..) does not declare",
                       InternalError);
  CHECK_THROWS_WITH_AS(run(saves(kX0), reads_y),
                       "planted: its gradient reads the output, which saves(..) does not declare", InternalError);
  CHECK_THROWS_WITH_AS(run(saves(kX0), reads_extra),
                       "planted: its gradient reads extra result 0, which saves(..) does not declare", InternalError);
  CHECK_THROWS_WITH_AS(run(saves(kAllX), reads_second), "planted: its gradient asks for input 1, but the op has 1",
                       InternalError);
  x.set_name("w");
  CHECK_THROWS_WITH_AS(run(saves(kNone), reads_x),
                       "planted: its gradient reads input 0 (parameter 'w'), which saves(..) does not declare",
                       InternalError);
  run(saves(kX0 | kY, {zeros({2}, DType::f64)}), [](const GradArgs& g) -> Grads {
    CHECK((g.in(0).shape() == Shape{2} && g.y().shape() == Shape{2} && g.extra(0).shape() == Shape{2}));
    CHECK((g.inputs() == 1 && g.shape(0) == Shape{2} && g.dtype(0) == DType::f64 && g.needs(0)));
    return {g.dy};
  });
}

TEST_CASE("rules: a saved value that changed in place names op and parameter") {
  Tensor w = leaf({1, 2});
  w.set_name("layer.weight");
  const auto change = [&] {
    no_grad guard;
    w.assign(w + w);
  };
  const Tensor a = sum(square(w));
  change();
  CHECK_THROWS_WITH_AS(
      grad(a, {w}),
      "square: the saved value of input 0 (parameter 'layer.weight') was changed in place after it was "
      "recorded; change values after backward",
      GradError);
  const Tensor h = exp(w);
  h.detach().assign(zeros({2}, DType::f64));
  CHECK_THROWS_WITH_AS(grad(sum(h), {w}),
                       "exp: the saved value of the output was changed in place after it was recorded; change values "
                       "after backward",
                       GradError);
  const Tensor b = sum(w + w);  // needs no values
  change();
  CHECK(grad(b, {w})[0].to_vector<double>() == std::vector<double>{2, 2});
}

TEST_CASE("rules: a gradient of a wrong shape or dtype, or too many of them, names the op") {
  const Tensor x = leaf({1, 2});
  const auto run = [&](auto rule) { grad(sum(planted(x, saves(kNone), rule)), {x}); };
  CHECK_THROWS_WITH_AS(run([](const GradArgs&) -> Grads { return {zeros({3}, DType::f64)}; }),
                       "planted: the gradient of input 0 must be f64 [2], or broadcast from it; got f64 [3]",
                       InternalError);
  CHECK_THROWS_WITH_AS(run([](const GradArgs&) -> Grads { return {zeros({}, DType::f64)}; }),
                       "planted: the gradient of input 0 must be f64 [2], or broadcast from it; got f64 []",
                       InternalError);
  CHECK_THROWS_WITH_AS(run([](const GradArgs&) -> Grads { return {zeros({2})}; }),
                       "planted: the gradient of input 0 must be f64 [2], or broadcast from it; got f32 [2]",
                       InternalError);
  CHECK_THROWS_WITH_AS(run([](const GradArgs& g) -> Grads {
                         return {g.dy, g.dy};
                       }),
                       "planted: a gradient has one entry per input; got 2 for 1", InternalError);
  run([](const GradArgs& g) -> Grads { return {g.dy + zeros({4, 2}, DType::f64)}; });  // a broadcast is summed back
}

TEST_CASE("rules: an empty or missing entry is no gradient; needs() says what is asked for") {
  const Tensor x = leaf({1, 2}), w = leaf({3, 4});
  const auto two = [&](auto rule) {
    no_grad guard;
    const Tensor y = x * w;
    Recording on(true);
    return sum(record("two", y, {x, w}, saves(kNone), rule));
  };
  const auto g = grad(two([](const GradArgs&) -> Grads { return {}; }), {x, w});
  CHECK((g[0].to_vector<double>() == std::vector<double>{0, 0} && g[1].shape() == Shape{2}));
  grad(two([](const GradArgs& a) -> Grads {
         CHECK((!a.needs(0) && a.needs(1)));
         return {Tensor{}, a.dy};
       }),
       {w});
  const Tensor plain = zeros({2}, DType::f64);
  grad(sum(record("mixed", zeros({2}, DType::f64), {x, plain, Tensor{}}, saves(kAllX),
                  [](const GradArgs& a) -> Grads {
                    CHECK((a.needs(0) && !a.needs(1) && !a.needs(2)));
                    CHECK((a.in(1) && !a.in(2)));  // an empty handle comes back as one
                    return {a.dy, a.dy, a.dy};
                  })),
       {x});
}

TEST_CASE("record: an op must return a tensor of its own, with a floating dtype") {
  const Tensor x = leaf({1, 2}), plain = zeros({2}, DType::f64);
  const char* text = "bad: an op must return a tensor of its own; got one that is in use already";
  CHECK_THROWS_WITH_AS(record("bad", x * 2.0, {x}, saves(kNone), fine).item(),
                       "bad: an op must return a tensor of its own; got one that is in use already", InternalError);
  CHECK_THROWS_WITH_AS(record("bad", x, {x}, saves(kNone), fine), text, InternalError);
  CHECK_THROWS_WITH_AS(record("bad", plain, {x, plain}, saves(kNone), fine), text, InternalError);
  CHECK_FALSE(plain.requires_grad());
  CHECK_THROWS_WITH_AS(record("bad", zeros({2}, DType::i64), {x}, saves(kNone), fine),
                       "bad: only f32, f64 and bf16 have gradients; got y i64 [2]", InternalError);
}

TEST_CASE("rules: an exception in a rule leaves the engine and the graph usable") {
  const Tensor x = leaf({1, 2});
  bool fails = true;
  const Tensor h = square(x);
  const Tensor y = sum(planted(h, saves(kNone),
                               [&](const GradArgs& g) -> Grads {
                                 if (fails) throw Error("from a rule");
                                 return {g.dy * 2.0};
                               }) *
                       h);
  for (int i = 0; i < 3; ++i) {
    CHECK_THROWS_WITH_AS(grad(y, {x}, {.create_graph = i == 1, .retain_graph = true}), "from a rule", Error);
    CHECK(recording());
    CHECK_THROWS_WITH_AS(backward(y, {.retain_graph = true}), "from a rule", Error);
    CHECK_FALSE(x.grad());
  }
  fails = false;
  CHECK(grad(y, {x})[0].to_vector<double>() == std::vector<double>{8, 64});  // y = 2 x^4
}

TEST_CASE("rules: a walk inside a walk, over nodes that the outer one is using") {
  const Tensor x = leaf({1, 2});
  const Tensor h = square(x);
  // The gradient of 2 h by a rule that differentiates h * h (and with it passes over h's node and x's).
  const Tensor p = planted(h, saves(kX0), [&](const GradArgs& g) -> Grads {
    Recording on(true);
    const Tensor inner = sum(g.in(0) * g.in(0));
    const auto found = grad(inner, {g.in(0), x}, {.retain_graph = true});
    CHECK(found[1].to_vector<double>() == std::vector<double>{4, 32});
    return {g.dy * found[0] / g.in(0)};  // 2 dy
  });
  const auto g = grad(sum(p * h), {x, h}, {.retain_graph = true});  // 2 h^2
  CHECK(g[0].to_vector<double>() == std::vector<double>{8, 64});
  CHECK(g[1].to_vector<double>() == std::vector<double>{4, 16});
  CHECK(grad(sum(p * h), {x})[0].to_vector<double>() == std::vector<double>{8, 64});
}

TEST_CASE("GradAudit: finds what is saved and never read, over all rules that ran") {
  const Tensor x = leaf({1, 2});
  GradAudit outer;
  {
    GradAudit audit;
    grad(sum(planted(x, saves(kX0 | kX1 | kY), [](const GradArgs& g) -> Grads { return {g.dy * g.in(0)}; })), {x});
    const GradAudit::Entry e = audit.entries().at("planted");
    CHECK(e.declared == (kX0 | kY));  // there is no input 1
    CHECK(e.read == kX0);
    grad(sum(planted(x, saves(kY), [](const GradArgs& g) -> Grads { return {g.y()}; })), {x});
    CHECK(audit.entries().at("planted").read == (kX0 | kY));
  }
  CHECK(outer.entries().at("planted").read == (kX0 | kY));
  CHECK(outer.entries().at("sum").declared == kNone);
}
