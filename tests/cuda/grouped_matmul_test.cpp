// Grouped products on a GPU: group by group where the host may read the borders, by blocks of rows in a capture.
#include "ops/grouped_matmul.h"

#include <doctest/doctest.h>

#include <optional>

#include "core/autograd.h"
#include "core/graph.h"
#include "ops/reduce.h"
#include "ops/views.h"
#include "tests/support/check_op.h"
#include "tests/support/on_cuda.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

constexpr i64 kRows = 300, kWidth = 70, kOuter = 9;

struct Case {
  Tensor x, w, begin;
  bool transposed;
};
std::vector<Tensor> value_and_gradients(const Case& c) {
  Tensor x = c.x.detach(), w = c.w.detach();
  x.requires_grad_(), w.requires_grad_();
  const Tensor y = grouped_matmul(x, c.transposed ? swap_axes(w, 1, 2) : w, c.begin);
  std::vector<Tensor> all{y.detach()};
  for (const Tensor& g : grad(sum(y * y), {x, w})) all.push_back(g);
  return all;
}
Case moved(const Case& c, Device device) { return {c.x.to(device), c.w.to(device), c.begin.to(device), c.transposed}; }

}  // namespace

TEST_CASE("cuda grouped_matmul: eager and captured agree with the CPU; eager waits once, a replay never") {
  if (!on_cuda()) return;
  for (const bool transposed : {false, true})
    for (const std::vector<i64>& borders : {std::vector<i64>{0, 129, 129, 300}, {0, 1, 258, 280}, {0, 0, 0, 0}}) {
      std::optional<DeviceScope> scope(std::in_place, Device::cpu);
      const Shape w = transposed ? Shape{3, kOuter, kWidth} : Shape{3, kWidth, kOuter};
      const Case here{random_tensor({kRows, kWidth}, 1), random_tensor(w, 2),
                      from_vector(std::vector<double>(borders.begin(), borders.end()), {4}, DType::i64), transposed};
      const auto expected = value_and_gradients(here);
      scope.emplace(Device::cuda);
      const Case there = moved(here, Device::cuda);
      const i64 before = waits();
      const auto eager = value_and_gradients(there);
      CHECK(waits() == before + 1);
      std::vector<Tensor> captured;
      const Graph graph = Graph::capture([&] { captured = value_and_gradients(there); });
      const i64 recorded = waits();  // reading in a capture would have been refused
      graph.replay();
      CHECK(waits() == recorded);
      for (std::size_t i = 0; i < expected.size(); ++i) {
        CAPTURE(i);
        CHECK_LE(difference(eager[i].to(Device::cpu), expected[i]), 1e-11);  // sums of up to 300 terms
        CHECK_LE(difference(captured[i].to(Device::cpu), expected[i]), 1e-11);
      }
    }
}

TEST_CASE("cuda grouped_matmul: bad borders are thrown at once, from a graph when the host next waits") {
  if (!on_cuda()) return;
  if constexpr (kWithCuda) {
    const DeviceScope scope(Device::cuda);
    const Tensor x = ones({5, 2}), w = ones({2, 2, 3}), bad = tensor({0, 4, 3}, DType::i64);
    CHECK_THROWS_WITH_AS(grouped_matmul(x, w, bad),
                         "grouped_matmul: begin must ascend from 0 to at most 5; got 0 .. 3 for 2 groups", IndexError);
    const Graph graph = Graph::capture([&] { grouped_matmul(x, w, bad); });
    graph.replay();
    CHECK_THROWS_WITH_AS(cuda::synchronize(), "grouped_matmul: begin must ascend from 0 to at most 5; got 3",
                         IndexError);
  }
}
