// Attention on a GPU against the CPU: tiles that are whole, cut and hidden in part, operands that stay in shared memory
// and those too wide for it, rows that can be read 16 bytes at a time and others, dropout, bf16.
#include "ops/attention.h"

#include <doctest/doctest.h>

#include "core/autograd.h"
#include "ops/compare.h"
#include "ops/reduce.h"
#include "ops/slice.h"
#include "ops/views.h"
#include "tests/support/check_op.h"
#include "tests/support/on_cuda.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

std::vector<Tensor> value_and_gradients(std::vector<Tensor> in, Device device, AttentionOptions options) {
  for (Tensor& x : in) x = x.detach().to(device).requires_grad_();
  if (options.mask) options.mask = options.mask.to(device);
  if (options.draw.step) options.draw.step = options.draw.step.to(device);
  const Tensor y = attention(in[0], in[1], in[2], options);
  std::vector<Tensor> all{y};
  for (const Tensor& g : grad(sum(y * y), in)) all.push_back(g);
  for (Tensor& x : all) x = x.detach().to(Device::cpu);
  return all;
}

struct Sizes {
  i64 queries, keys, width, value_width;
};
std::vector<Tensor> operands(const Sizes& s, DType dtype) {
  return {random_tensor({2, s.queries, s.width}, 1, -1, 1, dtype), random_tensor({2, s.keys, s.width}, 2, -1, 1, dtype),
          random_tensor({2, s.keys, s.value_width}, 3, -1, 1, dtype)};
}
Tensor mask_of(const Sizes& s) { return gt(random_tensor({s.queries, s.keys}, 4), scalar(-0.5, DType::f64)); }

void same_on_both(const Sizes& s, const AttentionOptions& options, DType dtype, double tolerance) {
  CAPTURE(s.queries);
  CAPTURE(s.width);
  CAPTURE(options.causal);
  const std::vector<Tensor> in = operands(s, dtype);
  const auto a = value_and_gradients(in, Device::cuda, options), b = value_and_gradients(in, Device::cpu, options);
  for (std::size_t i = 0; i < a.size(); ++i) {
    CAPTURE(i);
    CHECK(a[i].dtype() == dtype);
    CHECK_LE(difference(a[i], b[i]), tolerance);
  }
}

}  // namespace

TEST_CASE("cuda attention: tails, three tiles of keys and of queries, wide heads, masks") {
  if (!on_cuda()) return;
  const DeviceScope scope(Device::cpu);
  const Sizes rows[] = {{70, 130, 40, 24}, {130, 70, 36, 72}, {5, 3, 140, 200}, {67, 70, 37, 13}, {128, 192, 64, 64}};
  for (const Sizes& s : rows)
    for (const bool causal : {false, true}) {
      AttentionOptions plain{.causal = causal}, masked{.causal = causal, .mask = mask_of(s)};
      same_on_both(s, causal ? plain : masked, DType::f64, 1e-12);  // sums of up to 200 terms, each rounded to 1e-16
      same_on_both(s, causal ? masked : plain, DType::f32, 1e-5);   // and to 6e-8
    }
}

TEST_CASE("cuda attention: a tile whose last key is hidden from its first query alone") {
  if (!on_cuda()) return;
  const DeviceScope scope(Device::cpu);
  same_on_both({32, 62, 8, 8}, {.causal = true}, DType::f64, 1e-12);
  same_on_both({64, 126, 8, 8}, {.causal = true}, DType::f32, 1e-5);
}

TEST_CASE("cuda attention: dropout drops the same probabilities on both, however many queries there are") {
  if (!on_cuda()) return;
  const DeviceScope scope(Device::cpu);
  Random random(5);
  for (const Sizes& s : {Sizes{70, 67, 8, 8}, Sizes{72, 66, 8, 8}, Sizes{65, 3, 8, 8}})  // 4 queries share random words
    for (const bool causal : {false, true}) {
      const AttentionOptions options{.causal = causal, .dropout = 0.3, .draw = random.next()};
      same_on_both(s, options, DType::f64, 1e-12);
      same_on_both(s, options, DType::f32, 1e-5);
    }
}

TEST_CASE("cuda attention: rows that begin and end anywhere, and heads that lie side by side") {
  if (!on_cuda()) return;
  const DeviceScope scope(Device::cpu);
  for (const DType dtype : {DType::f32, DType::f64})
    for (const i64 begin : {0, 1, 4})
      for (const i64 width : {8, 6}) {  // of each of 2 heads, from column `begin` on
        CAPTURE(begin);
        CAPTURE(width);
        const Tensor x = random_tensor({70, 24}, 1, -1, 1, dtype), there = x.to(Device::cuda);
        const auto on = [&](const Tensor& t) {
          Tensor leaf = t.detach().requires_grad_();
          const Tensor heads = reshape(slice(leaf, 1, {begin, begin + 2 * width}), {70, 2, width});
          const Tensor h = permute(heads, {1, 0, 2}), y = attention(h, h, h, {.causal = true});
          return grad(sum(y * y), {leaf})[0].to(Device::cpu);
        };
        CHECK_LE(difference(on(there), on(x)), dtype == DType::f32 ? 1e-5 : 1e-12);
      }
}

TEST_CASE("cuda attention: the same bits every time") {
  if (!on_cuda()) return;
  const DeviceScope scope(Device::cpu);
  const std::vector<Tensor> in = operands({130, 130, 16, 16}, DType::f32);
  const auto a = value_and_gradients(in, Device::cuda, {.causal = true});
  const OtherWayRound guard;
  const auto b = value_and_gradients(in, Device::cuda, {.causal = true});
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(a[i].to_vector<float>() == b[i].to_vector<float>());
}

TEST_CASE("cuda attention: bf16 is computed in f32 and rounded once") {
  if (!on_cuda()) return;
  const DeviceScope scope(Device::cpu);
  // The CPU widens, computes and rounds as well: sums in another order differ by one rounding, 2^-8 of up to 1.
  same_on_both({70, 66, 40, 24}, {.causal = true}, DType::bf16, 0x1p-7);
  same_on_both({70, 66, 37, 13}, {}, DType::bf16, 0x1p-7);
}
