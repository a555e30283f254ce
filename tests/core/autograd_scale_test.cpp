// Long, wide and many graphs: the stack, the memory, and threads.
#include <doctest/doctest.h>
#include <pthread.h>

#include <functional>
#include <thread>
#include <vector>

#include "core/autograd.h"
#include "ops/arithmetic.h"
#include "ops/reduce.h"
#include "ops/unary.h"

using namespace moegrad;

namespace {

Tensor leaf(double value, DType dtype = DType::f64) {
  Tensor x = scalar(value, dtype);
  return x.requires_grad_();
}

// Runs f in a thread with 256 KB of stack: a recursion per node would overflow it after some thousand nodes.
void with_small_stack(const std::function<void()>& f) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  REQUIRE(pthread_attr_setstacksize(&attributes, 256 * 1024) == 0);
  pthread_t thread;
  const auto call = [](void* p) -> void* {
    (*static_cast<const std::function<void()>*>(p))();
    return nullptr;
  };
  REQUIRE(pthread_create(&thread, &attributes, call, const_cast<std::function<void()>*>(&f)) == 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

// Graphs are the host's affair; on a device each op is a launch, and a twentieth is more than a recursion would survive.
int length() { return default_device() == Device::cpu ? 1'000'000 : 50'000; }

}  // namespace

TEST_CASE("scale: a chain of 1,000,000 ops, backward and released, on a small stack and without a leak") {
  double slope = 0;
  i64 left_over = -1, live = 0;
  with_small_stack([&] {
    const i64 before = memory::stats().current_bytes;
    {
      const Tensor x = leaf(0.5);
      Tensor y = x;
      for (int i = 0; i < length(); ++i) y = neg(y);
      live = memory::stats().current_bytes - before;
      slope = grad(y, {x})[0].item();
    }
    left_over = memory::stats().current_bytes - before;
  });
  CHECK(slope == 1);
  CHECK(live < 1000);  // neg saves nothing: only x and y have values
  CHECK(left_over == 0);
}

TEST_CASE("scale: a chain that saves its values lets go of them as backward passes, and of all that is never used") {
  with_small_stack([&] {
    const i64 before = memory::stats().current_bytes;
    const Tensor x = leaf(0.5);
    Tensor y = x;
    for (int i = 0; i < length() / 4; ++i) y = y * x;
    const Tensor unused = exp(y);
    memory::reset_peak();
    const i64 recorded = memory::stats().current_bytes;
    grad(y, {x});
    CHECK(memory::stats().peak_bytes - recorded < 1000);
    CHECK(memory::stats().current_bytes - before < 100);
  });
}

TEST_CASE("scale: one tensor used 1,000,000 times") {
  const i64 before = memory::stats().current_bytes;
  {
    const Tensor x = leaf(2);
    Tensor y = scalar(0, DType::f64);
    for (int i = 0; i < length(); ++i) y = y + x;
    CHECK(grad(y, {x})[0].item() == length());
  }
  CHECK(memory::stats().current_bytes == before);
}

TEST_CASE("scale: one op with 100,000 inputs") {
  constexpr int kWide = 100'000;
  std::vector<Tensor> xs;
  for (int i = 0; i < kWide; ++i) xs.push_back(leaf(i));
  const Tensor y = record("wide", scalar(0, DType::f64), xs, saves(kAllX), [](const GradArgs& g) -> Grads {
    Grads grads;
    for (int i = 0; i < g.inputs(); ++i) grads.push_back(g.needs(i) ? g.dy * g.in(i) : Tensor{});
    return grads;
  });
  const auto g = grad(y, xs);
  bool right = true;
  for (int i = 0; i < kWide; ++i) right = right && g[static_cast<std::size_t>(i)].item() == i;
  CHECK(right);
}

TEST_CASE("scale: two threads, each with graphs of its own") {
  const auto work = [](double start, bool* right) {
    *right = true;
    for (int round = 0; round < 200; ++round) {
      const Tensor x = leaf(start + round % 3);
      const double v = x.item();
      const Tensor y = x * x * x + sum(x - x);
      const Tensor first = grad(y, {x}, {.create_graph = true})[0];
      const Tensor second = grad(first, {x})[0];
      *right = *right && first.item() == 3 * v * v && second.item() == 6 * v;
      (x * x).backward();
      *right = *right && x.grad().item() == 2 * v;
    }
  };
  bool first = false, second = false;
  std::thread a(work, 1, &first), b(work, 2, &second);
  a.join();
  b.join();
  CHECK((first && second));
}

TEST_CASE("scale: a model that one thread made and another trains") {
  std::vector<Tensor> weights;
  for (int i = 0; i < 1000; ++i) weights.push_back(leaf(i));
  std::vector<double> slopes;
  std::thread([&] {  // a new thread has made no nodes yet: its own must still come after the leaves
    Tensor y = scalar(0, DType::f64);
    for (const Tensor& w : weights) y = y + w * w;
    for (const Tensor& g : grad(y, weights)) slopes.push_back(g.item());
    y = {};
  })
      .join();
  REQUIRE(slopes.size() == 1000);
  bool right = true;
  for (int i = 0; i < 1000; ++i) right = right && slopes[static_cast<std::size_t>(i)] == 2 * i;
  CHECK(right);
}
