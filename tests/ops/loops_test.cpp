// Every branch of the elementwise loops against naive indexing: unit, zero and other strides of the inner axis, runs
// cut by thread borders, one to three threads.
#include "ops/loops.h"

#include <doctest/doctest.h>

#include "ops/arithmetic.h"
#include "ops/cast.h"
#include "ops/slice.h"
#include "ops/views.h"
#include "tests/support/check_op.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {
struct Affine {
  template <class T> MOEGRAD_HD T operator()(T a, T b, T c) const { return a * b + c; }
};
Tensor affine(const Tensor& a, const Tensor& b, const Tensor& c, const Shape& shape) {
  Tensor y = empty(shape, DType::f64);
  const Nest<4> nest = nest_over<4>(shape, {&a, &b, &c, &y});
  cpu::map3(Affine{}, a.data<double>(), b.data<double>(), c.data<double>(), y.data<double>(), nest);
  return y;
}
// One tensor that broadcasts to [40, 30, 50], in many layouts.
std::vector<Tensor> layouts() {
  const Tensor x = random_tensor({40, 30, 50}, 1);
  return {x,
          random_tensor({50}, 2),
          random_tensor({30, 1}, 3),
          random_tensor({}, 4),
          random_tensor({40, 1, 50}, 5),
          permute(random_tensor({50, 30, 40}, 6), {2, 1, 0}),
          slice(random_tensor({40, 30, 100}, 7), 2, {1, kEnd, 2}),
          flip(x, 2),
          flip(flip(x, 0), 1),
          expand(random_tensor({40, 1, 1}, 8), {40, 30, 50})};
}
}  // namespace

TEST_CASE("loops: one, two and three operands in every layout, for any number of threads") {
  if (default_device() != Device::cpu) return;  // the loops of the CPU, which do not change with the device
  const int threads = num_threads();
  const Tensor third = random_tensor({30, 1}, 9);
  const auto twice = naive_map([](const std::vector<double>& v) { return 2 * v[0]; });
  const auto sum = naive_map([](const std::vector<double>& v) { return v[0] + v[1]; });
  const auto naive_affine = naive_map([](const std::vector<double>& v) { return v[0] * v[1] + v[2]; });
  for (int count : {1, 2, 3}) {
    set_num_threads(count);
    for (const Tensor& a : layouts()) {
      CHECK(difference(contiguous(a), naive_map([](const std::vector<double>& v) { return v[0]; })({a})) == 0);
      CHECK(difference(a * 2.0, twice({a})) == 0);
      if (count == 1 && a.rank() != 3) continue;
      for (const Tensor& b : layouts()) {
        const Shape shape = broadcast("test", broadcast("test", a.shape(), b.shape()), third.shape());
        CHECK(difference(a + b, sum({a, b})) == 0);
        CHECK(difference(affine(a, b, third, shape), naive_affine({a, b, third})) < 1e-15);
      }
    }
  }
  set_num_threads(threads);
}

TEST_CASE("loops: nests merge axes that lie behind each other, and drop those of size 1") {
  const DeviceScope scope(Device::cpu);  // the loops of the CPU
  const Tensor x = zeros({4, 1, 5, 6}), row = zeros({6});
  CHECK(nest_over<1>(x.shape(), {&x}).rank == 1);
  CHECK(nest_over<2>(x.shape(), {&x, &row}).rank == 2);
  const Tensor cut = slice(x, 2, {0, 4});
  CHECK(nest_over<1>(cut.shape(), {&cut}).rank == 2);
  const Tensor none = zeros({3, 0, 2}), one = scalar(1);
  CHECK(nest_over<1>(none.shape(), {&none}).elements() == 0);
  CHECK(nest_over<1>(one.shape(), {&one}).elements() == 1);
}
