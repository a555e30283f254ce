// Products on a GPU against those of the CPU: every way in which cuda/matmul.cu hands a batch to cuBLAS, and bf16.
#include "ops/matmul.h"

#include <doctest/doctest.h>

#include "core/autograd.h"
#include "core/cuda.h"
#include "ops/arithmetic.h"
#include "ops/integer_matmul.h"
#include "ops/pad.h"
#include "ops/reduce.h"
#include "ops/slice.h"
#include "ops/unfold.h"
#include "ops/views.h"
#include "tests/support/on_cuda.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// Small whole numbers: their products and sums are exact in every dtype used, in any order.
Tensor whole(const Shape& shape, i64 period, DType dtype = DType::f32) {
  std::vector<double> values(static_cast<std::size_t>(shape.elements()));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<double>(static_cast<i64>(i * i + 3 * i) % period) - static_cast<double>(period / 2);
  return from_vector(values, shape, dtype, Device::cpu);
}
Tensor there(const Tensor& x) { return x.to(Device::cuda); }
void same(const Tensor& on_gpu, const Tensor& on_cpu) {
  CHECK(on_gpu.device() == Device::cuda);
  CHECK(on_gpu.shape() == on_cpu.shape());
  CHECK(on_gpu.dtype() == on_cpu.dtype());
  CHECK(on_gpu.to(Device::cpu).to_vector<double>() == on_cpu.to_vector<double>());
}
void same_product(const Tensor& a, const Tensor& b) {
  CAPTURE(to_string(a.shape()));
  CAPTURE(to_string(b.shape()));
  same(matmul(there(a), there(b)), matmul(a, b));
}
// Heads as they are split off a width: [B, S, H D] -> [B, H, S, D], a batch of two axes that do not join.
Tensor heads(const Tensor& x, i64 h) {
  return permute(reshape(x, {x.dim(0), x.dim(1), h, x.dim(2) / h}), {0, 2, 1, 3});
}

}  // namespace

TEST_CASE("cuda matmul: one axis, two axes in a few calls, in many, by addresses; rows joined; sizes 0 and 1") {
  if (!on_cuda()) return;
  const DeviceScope scope(Device::cuda);
  for (const DType t : {DType::f32, DType::f64, DType::bf16}) {
    const auto x = [t](const Shape& shape, i64 period) { return whole(shape, period, t); };
    same_product(x({3, 4, 5}, 7), x({3, 5, 6}, 5));
    same_product(x({3, 4, 5}, 7), transpose(x({3, 6, 5}, 5)));
    same_product(transpose(x({3, 5, 4}, 7)), x({3, 5, 6}, 5));
    same_product(x({2, 3, 4, 5}, 7), x({1, 3, 5, 6}, 5));  // b broadcast along the outer axis
    same_product(x({1, 4, 5}, 7), x({3, 5, 6}, 5));        // a broadcast
    same_product(x({2, 3, 4, 5}, 7), x({2, 1, 5, 6}, 5));  // the rows of three entries are one product
    same_product(x({2, 3, 1, 5}, 7), x({2, 1, 5, 6}, 5));  // and where they are single rows
    same_product(x({10, 12, 4, 8}, 7), x({10, 1, 8, 4}, 5));
    same_product(x({10, 1, 4, 8}, 7), transpose(x({1, 12, 4, 8}, 5)));
    same_product(x({5, 1}, 7), x({1, 3}, 5));
    same_product(x({1, 5}, 7), x({5, 1}, 5));
    same_product(x({4, 0}, 7), x({0, 3}, 5));
    same_product(x({2, 2, 4, 0}, 7), x({2, 1, 0, 3}, 5));
    same_product(x({0, 4}, 7), x({4, 3}, 5));
    same_product(x({3, 0, 4}, 7), x({3, 4, 2}, 5));
    for (const i64 width : {96, 60}) {  // with addresses that are a multiple of 16 bytes, and that are not
      const Tensor q = heads(x({10, 3, width}, 7), 12), k = heads(x({10, 4, width}, 5), 12);
      same(matmul(heads(there(x({10, 3, width}, 7)), 12), transpose(heads(there(x({10, 4, width}, 5)), 12))),
           matmul(q, transpose(k)));
    }
  }
}

TEST_CASE("cuda matmul: sums of bf16 are rounded once, gradients too, and nothing is widened") {
  if (!on_cuda()) return;
  const DeviceScope scope(Device::cuda);
  const auto product_of = [](const Tensor& a, const Tensor& b) {
    Tensor p = a.detach(), q = b.detach();
    p.requires_grad_(), q.requires_grad_();
    const Tensor y = matmul(p, transpose(q));
    return std::pair{y, grad(sum(y * y), std::vector{p, q})};
  };
  const Tensor a = whole({9, 300}, 201, DType::bf16), b = whole({8, 300}, 101, DType::bf16);
  const auto [y, dy] = product_of(there(a), there(b));
  const auto [z, dz] = product_of(a, b);
  same(y, z);
  same(dy[0], dz[0]);
  same(dy[1], dz[1]);
  const Tensor p = there(a), q = there(b);
  const memory::AllocationLog log;
  matmul(p, transpose(q));
  CHECK(log.bytes() == 9 * 8 * 2);
}

TEST_CASE("cuda matmul: TF32 where it is allowed, and only there") {
  if (!on_cuda()) return;
  if constexpr (kWithCuda) {
    const double fine = 1 + 0x1p-20;  // 1 in TF32
    const Tensor a = full({4, 4}, fine, DType::f32, Device::cuda), b = full({4, 4}, 1, DType::f32, Device::cuda);
    CHECK(!cuda::tf32());
    CHECK(matmul(a, b).to_vector<double>()[0] == 4 * fine);
    cuda::set_tf32(true);
    const double coarse = matmul(a, b).to_vector<double>()[0];
    cuda::set_tf32(false);
    CHECK(coarse == 4);
    CHECK(matmul(a, b).to_vector<double>()[0] == 4 * fine);
  }
}

TEST_CASE("cuda: integer products with tails and two batch axes, windows, triangles") {
  if (!on_cuda()) return;
  const DeviceScope scope(Device::cuda);
  const Tensor a = whole({2, 3, 18, 35}, 11, DType::i64), b = whole({2, 1, 35, 17}, 13, DType::i64);
  same(integer_matmul(there(a), there(b)), integer_matmul(a, b));
  same(integer_matmul(there(whole({3, 0}, 3, DType::i64)), there(whole({0, 2}, 3, DType::i64))),
       integer_matmul(whole({3, 0}, 3, DType::i64), whole({0, 2}, 3, DType::i64)));
  const WindowOptions options{.stride = {2, 1}, .padding = {1, 2}, .dilation = {1, 2}};
  for (const DType t : {DType::f32, DType::f64, DType::bf16}) {
    const Tensor x = whole({2, 3, 9, 8}, 7, t), columns = unfold(x, {3, 2}, options);
    same(unfold(there(x), {3, 2}, options), columns);
    same(fold(there(columns), {9, 8}, {3, 2}, options), fold(columns, {9, 8}, {3, 2}, options));
    for (const i64 diagonal : {-20, -1, 0, 2, 20}) {
      same(tril(there(x), diagonal), tril(x, diagonal));
      same(triu(there(x), diagonal), triu(x, diagonal));
    }
  }
}
