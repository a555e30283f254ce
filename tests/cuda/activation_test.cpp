// Activations of every bf16 number on a GPU, whose short forms (cuda/rough_gelu.cuh) must not be seen in the result.
#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "core/bf16.h"
#include "core/tensor.h"
#include "ops/activation.h"
#include "ops/cast.h"
#include "tests/support/on_cuda.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

Tensor all_of_bf16() {
  std::vector<float> v(1 << 16);
  for (u32 bits = 0; bits < v.size(); ++bits) v[bits] = bf16::widen(static_cast<std::uint16_t>(bits));
  return cast(from_vector(v, {1 << 16}, DType::f32, Device::cpu), DType::bf16);
}

struct Result {
  std::vector<double> y, slope;
};
Result on(Device device, Tensor (*op)(const Tensor&)) {
  const Tensor x = all_of_bf16().to(device).requires_grad_();
  const Tensor y = op(x);
  const Tensor dy = full(y.shape(), 1, DType::bf16, device);
  return {y.to_vector<double>(), grad(y, {x}, dy)[0].to_vector<double>()};
}

// Elements that are further apart than neighbours in bf16, or of another kind.
int apart(const std::vector<double>& a, const std::vector<double>& b) {
  int n = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const bool finite = std::isfinite(a[i]) && std::isfinite(b[i]);
    const bool alike = finite ? std::abs(a[i] - b[i]) <= 0x1p-7 * std::abs(b[i]) + 0x1p-126
                              : a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]));
    n += !alike;
  }
  return n;
}
int different(const std::vector<double>& a, const std::vector<double>& b) {
  int n = 0;
  for (std::size_t i = 0; i < a.size(); ++i) n += a[i] != b[i] && !(std::isnan(a[i]) && std::isnan(b[i]));
  return n;
}

}  // namespace

TEST_CASE("cuda: gelu of every bf16 number is that of the CPU, or its neighbour; so is the slope") {
  if (!on_cuda()) return;
  const Result there = on(Device::cuda, gelu), here = on(Device::cpu, gelu);
  CHECK(apart(there.y, here.y) == 0);
  CHECK(apart(there.slope, here.slope) == 0);
  CHECK(different(there.y, here.y) < 100);  // of 65,536
  CHECK(different(there.slope, here.slope) < 100);
}
