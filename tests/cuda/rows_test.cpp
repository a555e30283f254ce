// Softmax, normalisation and cross-entropy on a GPU against the CPU, values and gradients, at the sizes where their
// kernels take another way: one lane for a row, a warp, a block, a row that does not stay in registers.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "core/autograd.h"
#include "core/tensor.h"
#include "ops/arithmetic.h"
#include "ops/cross_entropy.h"
#include "ops/norm.h"
#include "ops/reduce.h"
#include "ops/softmax.h"
#include "tests/support/on_cuda.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Tensor numbers(const Shape& shape, DType dtype, u64 seed) {
  std::vector<double> values(static_cast<std::size_t>(shape.elements()));
  for (double& v : values) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    v = static_cast<double>(seed >> 40) / static_cast<double>(1 << 24) * 6 - 3;
  }
  return from_vector(values, shape, dtype, Device::cpu);
}

void near(const char* what, const Tensor& there, const Tensor& here, double tolerance) {
  CAPTURE(what);
  REQUIRE(there.shape() == here.shape());
  CHECK(there.device() == Device::cuda);
  const std::vector<double> a = there.to_vector<double>(), b = here.to_vector<double>();
  double worst = 0;
  bool same_kind = true;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::isfinite(a[i]) && std::isfinite(b[i]))
      worst = std::max(worst, std::abs(a[i] - b[i]) / (1 + std::abs(b[i])));
    else
      same_kind &= a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]));
  }
  CHECK(same_kind);
  CHECK(worst <= tolerance);
}

using Fn = std::function<Tensor(const std::vector<Tensor>&)>;

// Values of op, and gradients to all of `in`, on both devices. Differences are roundings of sums in another order:
// `tolerance` in units of the dtype's epsilon.
void compare(const Fn& op, const std::vector<Tensor>& in, double tolerance) {
  CAPTURE(to_string(in[0].shape()));
  CAPTURE(name(in[0].dtype()));
  const double scale = tolerance * (in[0].dtype() == DType::f64 ? 2.2e-16 : 1.2e-7);
  const auto run = [&](Device device) {
    std::vector<Tensor> leaves;
    for (const Tensor& x : in) leaves.push_back(x.to(device).detach().requires_grad_());
    const Tensor y = op(leaves);
    const Tensor dy = numbers(y.shape(), y.dtype(), 99).to(device);
    std::vector<Tensor> results = grad(sum(y * dy), leaves);
    results.insert(results.begin(), y);
    return results;
  };
  const std::vector<Tensor> here = run(Device::cpu), there = run(Device::cuda);
  for (std::size_t i = 0; i < here.size(); ++i) near(i == 0 ? "y" : "gradient", there[i], here[i], scale);
}

const std::vector<i64> kLengths{1, 3, 8, 31, 64, 129, 256, 1000, 1028, 8192, 8200};

}  // namespace

TEST_CASE("cuda softmax, log_softmax, logsumexp: rows of every length, columns, several axes") {
  if (!on_cuda()) return;
  const DeviceScope scope(Device::cpu);
  std::vector<std::pair<Shape, Axes>> cases{{{2, 100, 5}, {1}},  {{2, 9, 70}, {1}},   {{3, 1000, 2}, {1}},
                                            {{4, 3, 5}, {0, 1}}, {{4, 3, 5}, {0, 2}}, {{300, 8}, {1}}};
  for (const i64 n : kLengths) cases.push_back({{3, n}, {1}});
  for (const DType t : {DType::f32, DType::f64})
    for (const auto& [shape, axes] : cases) {
      const std::vector<Tensor> x{numbers(shape, t, 1)};
      compare([&](const auto& in) { return softmax(in[0], axes); }, x, 16);
      compare([&](const auto& in) { return log_softmax(in[0], axes); }, x, 64);
      compare([&](const auto& in) { return logsumexp(in[0], axes); }, x, 16);
    }
}

TEST_CASE("cuda softmax: -inf, +inf, NaN, groups that are -inf throughout, and those far below 0") {
  if (!on_cuda()) return;
  const DeviceScope scope(Device::cpu);
  for (const i64 n : {i64{4}, i64{300}, i64{9000}})
    for (const int axis : {0, 1}) {
      std::vector<double> v = numbers({5, n}, DType::f64, 3).to_vector<double>();
      const auto at = [&](i64 row, i64 i) -> double& {
        return v[static_cast<std::size_t>(axis == 1 ? row * n + i : i * 5 + row)];
      };
      for (i64 i = 0; i < n; ++i) at(1, i) = -kInfinity;
      at(2, n - 1) = kInfinity;
      at(3, n / 2) = std::nan("");
      for (i64 i = 0; i < n; ++i) at(4, i) -= 1000;  // e^x is 0 for all of them
      at(4, 0) = -kInfinity;
      const Tensor x = from_vector(v, axis == 1 ? Shape{5, n} : Shape{n, 5}, DType::f32, Device::cpu);
      const Tensor there = x.to(Device::cuda);
      near("softmax", softmax(there, axis), softmax(x, axis), 1e-6);
      near("log_softmax", log_softmax(there, axis), log_softmax(x, axis), 1e-6);
      near("logsumexp", logsumexp(there, axis), logsumexp(x, axis), 1e-6);
    }
}

TEST_CASE("cuda layer_norm, rms_norm: rows of every length, few and many, with dw and db") {
  if (!on_cuda()) return;
  const DeviceScope scope(Device::cpu);
  std::vector<Shape> shapes{{700, 8}, {77, 40}, {1, 64}};
  for (const i64 n : kLengths)
    if (n > 1) shapes.push_back({5, n});
  for (const DType t : {DType::f32, DType::f64})
    for (const Shape& shape : shapes) {
      const Shape last{shape[1]};
      const std::vector<Tensor> in{numbers(shape, t, 1), numbers(last, t, 2), numbers(last, t, 3)};
      compare([](const auto& v) { return layer_norm(v[0], v[1], v[2]); }, in, 200);
      compare([](const auto& v) { return rms_norm(v[0], v[1]); }, {in[0], in[1]}, 200);
      compare([](const auto& v) { return layer_norm(v[0], {}, {}); }, {in[0]}, 200);
    }
}

TEST_CASE("cuda cross_entropy: classes of every number, ignored rows, label smoothing; a bad target is reported") {
  if (!on_cuda()) return;
  const DeviceScope scope(Device::cpu);
  for (const DType t : {DType::f32, DType::f64})
    for (const i64 n : kLengths)
      for (const double smoothing : {0.0, 0.1}) {
        const Tensor targets =
            from_vector(std::vector<double>{0.0, static_cast<double>(n - 1), -100.0, static_cast<double>(n / 2)}, {4},
                        DType::i64, Device::cpu);
        const Fn loss = [&](const std::vector<Tensor>& in) {
          return cross_entropy(in[0], targets.to(in[0].device()),
                               {.label_smoothing = smoothing, .reduction = Reduction::none});
        };
        compare(loss, {numbers({4, n}, t, 5)}, 40);
      }
  const Tensor x = numbers({2, 3}, DType::f32, 6).to(Device::cuda);
  const Tensor bad = from_vector(std::vector<double>{1.0, 3.0}, {2}, DType::i64, Device::cuda);
  CHECK_THROWS_WITH_AS(cross_entropy(x, bad).item(),
                       "cross_entropy: targets must be in [0, 3) or the ignored index -100; got 3", IndexError);
  CHECK_THROWS_WITH_AS(nll_loss(x, bad).item(), "nll_loss: targets must be in [0, 3) or the ignored index -100; got 3",
                       IndexError);
  CHECK(cross_entropy(x, from_vector(std::vector<double>{1.0, 2.0}, {2}, DType::i64, Device::cuda)).item() >
        0);  // and no longer then
}
