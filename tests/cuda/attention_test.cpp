// Attention on a GPU against the CPU: tiles with tails in every direction, three tiles of keys, wide heads, bf16.
#include "ops/attention.h"

#include <doctest/doctest.h>

#include "core/autograd.h"
#include "ops/compare.h"
#include "ops/reduce.h"
#include "ops/views.h"
#include "tests/support/check_op.h"
#include "tests/support/on_cuda.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

std::vector<Tensor> value_and_gradients(std::vector<Tensor> in, Device device, const AttentionOptions& options) {
  for (Tensor& x : in) x = x.detach().to(device).requires_grad_();
  const Tensor y = attention(in[0], in[1], in[2], options);
  std::vector<Tensor> all{y};
  for (const Tensor& g : grad(sum(y * y), in)) all.push_back(g);
  for (Tensor& x : all) x = x.detach().to(Device::cpu);
  return all;
}

struct Sizes {
  i64 queries, keys, width, value_width;
};

void same_on_both(const Sizes& s, bool causal, bool masked, DType dtype, double tolerance) {
  CAPTURE(s.queries);
  CAPTURE(s.width);
  CAPTURE(causal);
  const DeviceScope scope(Device::cpu);
  const std::vector<Tensor> in{random_tensor({2, s.queries, s.width}, 1, -1, 1, dtype),
                               random_tensor({2, s.keys, s.width}, 2, -1, 1, dtype),
                               random_tensor({2, s.keys, s.value_width}, 3, -1, 1, dtype)};
  AttentionOptions here{.causal = causal}, there{.causal = causal};
  if (masked) {
    here.mask = gt(random_tensor({s.queries, s.keys}, 4), scalar(-0.5, DType::f64));
    there.mask = here.mask.to(Device::cuda);
  }
  const auto a = value_and_gradients(in, Device::cuda, there), b = value_and_gradients(in, Device::cpu, here);
  for (std::size_t i = 0; i < a.size(); ++i) {
    CAPTURE(i);
    CHECK(a[i].dtype() == dtype);
    CHECK_LE(difference(a[i], b[i]), tolerance);
  }
}

}  // namespace

TEST_CASE("cuda attention: tails, three tiles of keys and of queries, wide heads, masks") {
  if (!on_cuda()) return;
  const Sizes rows[] = {{70, 130, 40, 24}, {130, 70, 36, 72}, {5, 3, 140, 200}};
  for (const Sizes& s : rows)
    for (const bool causal : {false, true}) {
      same_on_both(s, causal, !causal, DType::f64, 1e-12);  // sums of up to 200 terms, each rounded to 1e-16
      same_on_both(s, causal, causal, DType::f32, 1e-5);    // and to 6e-8
    }
}

TEST_CASE("cuda attention: bf16 is computed in f32 and rounded once") {
  if (!on_cuda()) return;
  // The CPU widens, computes and rounds as well: sums in another order differ by one rounding, 2^-8 of up to 1.
  same_on_both({70, 66, 40, 24}, true, false, DType::bf16, 0x1p-7);
}
