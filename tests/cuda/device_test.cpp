// Tensors on a GPU: copies, memory, waiting, and bad values found by kernels. Without a GPU (or its emulation) there is
// nothing to test here.
#include <doctest/doctest.h>

#include <cmath>

#include "core/autograd.h"
#include "core/cuda.h"
#include "core/tensor.h"
#include "ops/arithmetic.h"
#include "ops/einsum.h"
#include "ops/one_hot.h"
#include "ops/reduce.h"
#include "ops/slice.h"
#include "ops/views.h"
#include "tests/support/on_cuda.h"

using namespace moegrad;
using namespace moegrad::test;
using Doubles = std::vector<double>;

TEST_CASE("cuda: to(device) there and back, every dtype, strided, empty, a scalar") {
  if (!on_cuda()) return;
  for (const DType t : {DType::f32, DType::f64, DType::bf16, DType::i32, DType::i64, DType::boolean}) {
    const Tensor x = arange(0, 24, 1, t, Device::cpu);
    const Tensor y = x.to(Device::cuda);
    CHECK(y.device() == Device::cuda);
    CHECK(y.dtype() == t);
    CHECK(y.to_vector<double>() == x.to_vector<double>());
    CHECK(y.to(Device::cpu).to_vector<double>() == x.to_vector<double>());
    const Tensor strided = slice(permute(reshape(x, {2, 3, 4}), {2, 0, 1}), 0, {1, kEnd, 2});
    CHECK(strided.to(Device::cuda).to_vector<double>() == strided.to_vector<double>());
    const Tensor there = slice(permute(reshape(y, {2, 3, 4}), {2, 0, 1}), 0, {1, kEnd, 2});
    CHECK(there.to_vector<double>() == strided.to_vector<double>());
    CHECK(flip(y, 0).to_vector<double>() == flip(x, 0).to_vector<double>());
    CHECK(y[5].item() == x[5].item());
  }
  CHECK(zeros({0, 3}, DType::f32, Device::cpu).to(Device::cuda).shape() == Shape{0, 3});
  const Tensor here = ones({2}, DType::f32, Device::cuda);
  CHECK(here.to(Device::cuda).ref().get() == here.ref().get());
}

TEST_CASE("cuda: copies larger than the pinned memory they travel through, and many that share it, arrive whole") {
  if (!on_cuda()) return;
  const i64 n = (i64{9} << 20) / 4 + 3;  // over 9 MiB: three pieces there, ten back
  std::vector<i32> values(static_cast<std::size_t>(n));
  for (i64 i = 0; i < n; ++i) values[static_cast<std::size_t>(i)] = static_cast<i32>(i * 2654435761);
  const Tensor there = from_vector(values, {n}, DType::i32, Device::cpu).to(Device::cuda);
  CHECK(there.to_vector<i32>() == values);
  std::vector<Tensor> parts;
  for (i32 i = 0; i < 200; ++i) parts.push_back(full({20'000 + i}, i, DType::i32, Device::cpu).to(Device::cuda));
  i64 wrong = 0;
  for (i32 i = 0; i < 200; ++i)
    wrong += parts[static_cast<std::size_t>(i)].to_vector<i32>() !=
             std::vector<i32>(static_cast<std::size_t>(20'000 + i), i);
  CHECK(wrong == 0);
}

TEST_CASE("cuda: a move keeps a one-hot structured, and its scale differentiable") {
  if (!on_cuda()) return;
  const DeviceScope scope(Device::cpu);
  Tensor gates = tensor({0.5, -2.0, 3.0});
  gates.requires_grad_();
  const Tensor x = tensor({{1.0, 2.0}, {3.0, 4.0}, {5.0, 6.0}, {7.0, 8.0}});
  const Tensor rows = unsqueeze(gates, -1) * one_hot(tensor({3, -1, 0}, DType::i64), 4);
  const Tensor moved = rows.to(Device::cuda);
  REQUIRE(one_hot_of(moved) != nullptr);
  CHECK(moved.device() == Device::cuda);
  const Tensor y = einsum("pn,nd->pd", moved, x.to(Device::cuda));
  CHECK(y.to_vector<double>() == einsum("pn,nd->pd", rows, x).to_vector<double>());
  sum(y).backward();
  CHECK(gates.grad().to_vector<double>() == Doubles{15, 0, 3});
  const Tensor back = moved.to(Device::cpu);
  CHECK(one_hot_of(back) != nullptr);
  CHECK(dense(back).to_vector<double>() == dense(rows).to_vector<double>());
}

TEST_CASE("cuda: to(device) is a graph op: the gradient comes back to where the leaf is") {
  if (!on_cuda()) return;
  const DeviceScope scope(Device::cpu);
  Tensor w = tensor({1, 2, 3});
  w.requires_grad_();
  const Tensor y = w.to(Device::cuda);
  sum(y * y).backward();
  CHECK(w.grad().device() == Device::cpu);
  CHECK(w.grad().to_vector<double>() == Doubles{2, 4, 6});
}

TEST_CASE("cuda: sequences and constants are those of the CPU, bit for bit") {
  if (!on_cuda()) return;
  for (const DType t : {DType::f32, DType::f64, DType::bf16}) {
    const auto same = [](const Tensor& a, const Tensor& b) { CHECK(a.to_vector<double>() == b.to_vector<double>()); };
    same(linspace(-1, 3, 1001, t, Device::cuda), linspace(-1, 3, 1001, t, Device::cpu));
    same(arange(5, -7, -0.3, t, Device::cuda), arange(5, -7, -0.3, t, Device::cpu));
    same(eye(33, t, Device::cuda), eye(33, t, Device::cpu));
    same(full({3, 5}, 0.1, t, Device::cuda), full({3, 5}, 0.1, t, Device::cpu));
    same(linspace(2, 3, 1, t, Device::cuda), linspace(2, 3, 1, t, Device::cpu));
  }
}

TEST_CASE("cuda: operands on two devices are an error that names them") {
  if (!on_cuda()) return;
  CHECK_THROWS_WITH_AS(ones({2}, DType::f32, Device::cuda) + ones({2}, DType::f32, Device::cpu),
                       "add: operands must be on one device; got cuda f32 [2] and cpu f32 [2]", DeviceError);
}

TEST_CASE("cuda: memory in use and its peak are counted, released memory is not") {
  if (!on_cuda()) return;
  const i64 before = memory::stats(Device::cuda).current_bytes;
  memory::reset_peak(Device::cuda);
  {
    const Tensor x = empty({1000}, DType::f64, Device::cuda);
    CHECK(memory::stats(Device::cuda).current_bytes == before + 8000);
  }
  CHECK(memory::stats(Device::cuda).current_bytes == before);
  CHECK(memory::stats(Device::cuda).peak_bytes == before + 8000);
  memory::AllocationLog log;
  const Tensor y = empty({77}, DType::f32, Device::cuda);
  CHECK(log.count(77) == 1);
}

TEST_CASE("cuda: the host waits where values are read, and nowhere else") {
  if (!on_cuda()) return;
  const DeviceScope scope(Device::cuda);
  Tensor w = full({64, 3}, 0.5);
  w.requires_grad_();
  const i64 before = waits();
  const Tensor loss = mean(w * w + 1.0);
  loss.backward();
  CHECK(waits() == before);
  CHECK(loss.item() == doctest::Approx(1.25));
  CHECK(waits() == before + 1);
}

TEST_CASE("cuda: assign overwrites views in place, also overlapping ones") {
  if (!on_cuda()) return;
  const DeviceScope scope(Device::cuda);
  const Tensor x = arange(0, 6, 1, DType::f32);
  slice(x, 0, {0, 5}).assign(slice(x, 0, {1, 6}));
  CHECK(x.to_vector<double>() == Doubles{1, 2, 3, 4, 5, 5});
}
