#include "ops/autodiff/checkpoint.h"

#include <doctest/doctest.h>

#include <thread>

#include "core/choose.h"
#include "core/memory.h"
#include "core/random.h"
#include "ops/autodiff/gradcheck.h"
#include "ops/ops.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

using Tensors = std::vector<Tensor>;
using Doubles = std::vector<double>;

Tensor leaf(const Shape& shape, u64 seed, DType dtype = DType::f64) {
  Tensor x = random_tensor(shape, seed, -1, 1, dtype);
  return x.requires_grad_();
}
bool same_bits(const Tensors& a, const Tensors& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i].shape() != b[i].shape() || a[i].to_vector<double>() != b[i].to_vector<double>()) return false;
  return true;
}

// Two layers with a parameter that is used twice.
Tensor layers(const Tensor& x, const Tensor& w) { return tanh(matmul(gelu(matmul(x, w)), w)); }

}  // namespace

TEST_CASE("checkpoint: values and gradients are bit for bit those without it, also of tensors that fn captures") {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    const Tensor x = leaf({5, 4}, 1, dtype), w = leaf({4, 4}, 2, dtype);
    const Tensor h = exp(w);  // a result of an op that fn uses beside w itself: both get their own share
    const auto fn = [&](const Tensor& in) { return layers(in, w) * sum(h) + in; };
    const Tensor plain = fn(x), saved = checkpoint(fn, x);
    CHECK(same_bits({plain}, {saved}));
    const Tensor dy = random_tensor({5, 4}, 3, -1, 1, dtype);
    CHECK(same_bits(grad(plain, {x, h}, dy, {.retain_graph = true}), grad(saved, {x, h}, dy, {.retain_graph = true})));
    // w's own uses and those through h add up in another order
    const double tolerance = dtype == DType::f64 ? 1e-14 : dtype == DType::f32 ? 1e-5 : 0.05;
    CHECK(difference(grad(plain, {w}, dy, {.retain_graph = true})[0], grad(saved, {w}, dy, {.retain_graph = true})[0]) <
          tolerance);
  }
}

TEST_CASE("checkpoint: gradients of second order and of numbers of inputs and outputs, against differences") {
  const Tensor w = leaf({3, 3}, 2);
  CHECK_GRADIENTS(
      [](const Tensors& in) {
        const auto ys = checkpoint(
            [w = in[1]](const Tensors& a) {
              return Tensors{layers(a[0], w), sum(a[0] * a[1]), cumsum(a[1], 0)};
            },
            {in[0], in[2]});
        return sum(ys[0] * ys[1]) + sum(square(ys[2]));
      },
      {random_tensor({2, 3}, 1), random_tensor({3, 3}, 2), random_tensor({2, 3}, 3)}, {.order = 2});
  CHECK_GRADIENTS([&](const Tensors& in) { return checkpoint([&](const Tensor& a) { return layers(a, w); }, in[0]); },
                  {random_tensor({2, 3}, 1)}, {.order = 2});
}

TEST_CASE("checkpoint: second order of the parameters it finds equals that without it") {
  const Tensor x = leaf({2, 3}, 1), w = leaf({3, 3}, 2);
  const auto fn = [&](const Tensor& in) { return layers(in, w); };
  const auto second = [&](const Tensor& y) {
    const auto g = grad(sum(y), {x, w}, {.create_graph = true});
    return grad(sum(square(g[0])) + sum(square(g[1])), {x, w});
  };
  const Tensors plain = second(fn(x)), saved = second(checkpoint(fn, x));
  CHECK(difference(plain[0], saved[0]) < 1e-14);
  CHECK(difference(plain[1], saved[1]) < 1e-14);
}

TEST_CASE("checkpoint: nested, bit for bit, and to second order") {
  const Tensor x = leaf({2, 3}, 1), w = leaf({3, 3}, 2);
  const auto inner = [&](const Tensor& in) { return layers(in, w); };
  const auto outer = [&](const Tensor& in) { return checkpoint(inner, sin(in)) + checkpoint(inner, in); };
  const auto plain = [&](const Tensor& in) { return inner(sin(in)) + inner(in); };
  CHECK(difference(grad(sum(plain(x)), {w})[0], grad(sum(checkpoint(outer, x)), {w})[0]) < 1e-15);
  CHECK(same_bits(grad(sum(plain(x)), {x}), grad(sum(checkpoint(outer, x)), {x})));
  CHECK_GRADIENTS(
      [](const Tensors& in) {
        const auto one = [w = in[1]](const Tensor& a) { return layers(a, w); };
        return checkpoint([one](const Tensor& a) { return checkpoint(one, sin(a)) + a; }, in[0]);
      },
      {random_tensor({2, 3}, 1), random_tensor({3, 3}, 2)}, {.order = 2});
}

TEST_CASE("checkpoint: backward makes the same choices, whatever the scores say then; tapes outside hear them once") {
  Tensor x = tensor({3, 2, 1}, DType::f64);
  x.requires_grad_();
  Tensor scores = tensor({1, 2, 3}, DType::f64);
  int runs = 0;
  const auto fn = [&](const Tensor& in) {
    ++runs;
    return index_select(in, 0, top_k(scores, 1).indices) * 2.0;
  };
  RouteTape tape;
  TapeScope scope(tape, TapeMode::record);
  const Tensor y = checkpoint(fn, x);
  scores.assign(tensor({9, 0, 0}, DType::f64));
  CHECK(grad(sum(y), {x})[0].to_vector<double>() == Doubles{0, 0, 2});
  CHECK((runs == 2 && tape.choices().size() == 1));
}

TEST_CASE("checkpoint: a replayed tape outside decides in forward, too, and gradcheck sees through") {
  const auto fn = [](const Tensor& in) { return top_k(square(in), 2, 1).values; };
  CHECK_GRADIENTS([&](const Tensors& in) { return checkpoint(fn, in[0]); }, {random_tensor({3, 4}, 1)}, {.order = 2});
  CHECK_GRADIENTS([&](const Tensors& in) { return checkpoint(fn, in[0]); }, {random_tensor({3, 4}, 1)},
                  {.order = 2, .freeze_routes = true});
}

TEST_CASE("checkpoint: draws that fn holds by name are repeated") {
  Random random(1);
  const Draw draw = random.next();
  const Tensor x = leaf({4, 50}, 1);
  const auto fn = [&](const Tensor& in) { return dropout(in, 0.5, draw) * in; };
  CHECK(same_bits(grad(sum(fn(x)), {x}), grad(sum(checkpoint(fn, x)), {x})));
}

TEST_CASE("checkpoint: keeps inputs and outputs alone between forward and backward, and one segment in backward") {
  const i64 rows = 2000, segments = 8;
  const Tensor x = leaf({rows, 16}, 1, DType::f32);
  std::vector<Tensor> ws;
  for (i64 i = 0; i < segments; ++i) ws.push_back(leaf({16, 16}, 2 + static_cast<u64>(i), DType::f32));
  const auto measure = [&](bool save) {
    const i64 before = memory::stats().current_bytes;
    memory::reset_peak();
    Tensor h = x;
    for (const Tensor& w : ws) {
      const auto segment = [w](const Tensor& in) { return sin(exp(tanh(sin(matmul(in, w))))); };
      h = save ? checkpoint(segment, h) : segment(h);
    }
    const i64 kept = memory::stats().current_bytes - before;
    const Tensors g = grad(sum(h), {x, ws[0], ws[7]});
    return std::make_tuple(kept, memory::stats().peak_bytes - before, g);
  };
  const auto [kept, peak, g] = measure(false);
  const auto [kept_saving, peak_saving, g_saving] = measure(true);
  CHECK(same_bits(g, g_saving));
  const i64 one = rows * 16 * 4;  // bytes of one activation; each segment keeps four by itself
  CHECK(kept >= 4 * segments * one);
  CHECK(kept_saving <= (segments + 1) * one);
  CHECK(peak_saving <= (segments + 12) * one);
  CHECK(peak >= 2 * peak_saving);
}

TEST_CASE("checkpoint: outputs that are integers, an argument, a parameter, a constant, or used by nobody") {
  const Tensor x = leaf({3}, 1), w = leaf({3}, 2);
  const auto ys = checkpoint(
      [&](const Tensors& in) {
        return Tensors{argmax(in[0], 0), in[0], w, ones({2}, DType::f64), exp(in[0])};
      },
      {x});
  CHECK((ys[0].dtype() == DType::i64 && !ys[0].requires_grad()));
  const auto g = grad(Tensors{sum(ys[1] * 2.0), sum(ys[2] * ys[2]), sum(ys[3])}, Tensors{x, w}, {});
  CHECK(g[0].to_vector<double>() == Doubles{2, 2, 2});
  CHECK(difference(g[1], 2.0 * w.detach()) == 0);
  const auto none = checkpoint([](const Tensors&) { return Tensors{}; }, {x});
  CHECK(none.empty());
}

TEST_CASE("checkpoint: structured one-hots, given and captured") {
  const Tensor gate = leaf({3}, 1), x = leaf({3, 2}, 2);
  const Tensor plain_hot = one_hot(tensor({1, 0, 1}, DType::i64), 4);
  const Tensor hot = unsqueeze(gate, -1) * plain_hot;  // [3, 4], with a gradient to the gate
  const auto given = [](const Tensors& in) { return einsum("ne,nd->ed", in[0], in[1]); };
  const auto gradient = [](const Tensor& y, const Tensors& wanted) {
    return grad(sum(square(y)), wanted, {.retain_graph = true});  // hot's own graph is used again
  };
  CHECK(same_bits(gradient(given({plain_hot, x}), {x}), gradient(checkpoint(given, {plain_hot, x}), {x})));
  CHECK(difference(gradient(given({hot, x}), {gate})[0], gradient(checkpoint(given, {hot, x}), {gate})[0]) < 1e-15);
  const auto captured = [&](const Tensor& in) { return einsum("ne,nd->ed", hot, in); };
  CHECK(same_bits(gradient(captured(x), {gate, x}), gradient(checkpoint(captured, x), {gate, x})));
  const Tensor again = unsqueeze(gate, -1) * plain_hot;  // whose dense form is made inside the checkpoint
  const auto densely = [](const Tensor& h) { return [h](const Tensor& in) { return exp(h) * sum(in); }; };
  CHECK(same_bits(gradient(densely(hot)(x), {gate}), gradient(checkpoint(densely(again), x), {gate})));
}

TEST_CASE("checkpoint: derivatives taken inside fn") {
  const Tensor x = leaf({3}, 1), w = leaf({3}, 2);
  const auto fn = [&](const Tensor& in) {
    return jvp([&](const Tensor& a) { return sin(a) * w * a; }, in, ones({3}, DType::f64), {.create_graph = true}).dy;
  };
  const Tensors plain = grad(sum(fn(x)), {x, w}), saved = grad(sum(checkpoint(fn, x)), {x, w});
  CHECK(difference(plain[0], saved[0]) < 1e-15);
  CHECK(difference(plain[1], saved[1]) < 1e-15);
}

TEST_CASE("checkpoint: under no_grad it is the function itself; without anything to differentiate there is no graph") {
  const Tensor x = leaf({3}, 1);
  int runs = 0;
  const auto fn = [&](const Tensor& in) {
    ++runs;
    return exp(in);
  };
  CHECK_FALSE(checkpoint(fn, x.detach()).requires_grad());
  no_grad guard;
  CHECK_FALSE(checkpoint(fn, x).requires_grad());
  CHECK(runs == 2);
}

TEST_CASE("checkpoint: a second backward needs retain_graph, and tensors changed in between are named") {
  const Tensor x = leaf({3}, 1);
  Tensor w = leaf({3}, 2);
  w.set_name("w");
  const auto fn = [&](const Tensor& in) { return in * w; };
  const Tensor y = checkpoint(fn, x);
  grad(sum(y), {x}, {.retain_graph = true});
  grad(sum(y), {x});
  CHECK_THROWS_WITH_AS(
      grad(sum(y), {x}),
      "checkpoint: backward needs values that an earlier backward released; pass retain_graph to that one", GradError);
  const Tensor z = checkpoint(fn, x);
  {
    no_grad guard;
    w.assign(zeros({3}, DType::f64));
  }
  CHECK_THROWS_WITH_AS(grad(sum(z), {x}),
                       "checkpoint: the saved value of input 1 (parameter 'w') was changed in place after it was "
                       "recorded; change values after backward",
                       GradError);
}

TEST_CASE("checkpoint: a function that does something else the second time is an error that says what") {
  const Tensor x = leaf({3}, 1);
  int runs = 0;
  const auto backward_of = [&](const ManyFunction& fn) {
    runs = 0;
    grad(sum(checkpoint(fn, {x})[0]), {x});
  };
  CHECK_THROWS_WITH_AS(
      backward_of([&](const Tensors& in) { return Tensors(static_cast<std::size_t>(++runs), exp(in[0])); }),
      "checkpoint: fn must do the same again; got 1 outputs first and 2 then", GradError);
  CHECK_THROWS_WITH_AS(
      backward_of([&](const Tensors& in) { return Tensors{++runs == 1 ? in[0] * 1.0 : unsqueeze(in[0], 0)}; }),
      "checkpoint: fn must do the same again; got output 0 f64 [3] first and f64 [1, 3] then", GradError);
  CHECK_THROWS_WITH_AS(backward_of([&](const Tensors& in) {
                         if (++runs == 1) argmax(in[0], 0);
                         return Tensors{exp(in[0])};
                       }),
                       "checkpoint: fn must do the same again; got 1 choices first and 0 then", GradError);
  CHECK_THROWS_WITH_AS(checkpoint([](const Tensors&) { return Tensors{Tensor()}; }, {x}),
                       "checkpoint: fn must return tensors; got an empty handle as output 0", Error);
  CHECK(grad(sum(exp(x)), {x})[0].size() == 3);  // nothing is left behind
}

TEST_CASE("checkpoint: parameters that another thread made get their gradients") {
  const Tensor p = tensor({2, 3}, DType::f64).requires_grad_(), x = tensor({5, 7}, DType::f64).requires_grad_();
  std::vector<double> dp, dx;
  std::thread([&] {  // has made no node yet, so that its own could seem older
    const Tensor y = checkpoint([&](const Tensor& in) { return in * p; }, x);
    const auto g = grad(sum(y), {p, x});
    dp = g[0].to_vector<double>();
    dx = g[1].to_vector<double>();
  })
      .join();
  CHECK(dp == std::vector<double>{5, 7});
  CHECK(dx == std::vector<double>{2, 3});
}
