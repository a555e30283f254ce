// Reductions and running sums on a GPU against those of the CPU, at the sizes where their kernels take another way:
// rows shorter than a warp, longer than a block, cut into chunks, of a length that 16 bytes do not divide; few columns
// of many rows.
#include "ops/reduce.h"

#include <doctest/doctest.h>

#include <limits>

#include "core/tensor.h"
#include "ops/cumsum.h"
#include "ops/global_norm.h"
#include "ops/scan.h"
#include "ops/slice.h"
#include "ops/views.h"
#include "tests/support/on_cuda.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// Small whole numbers around 0, whose sums are exact in any order, without a pattern that blocks could share.
Tensor whole(const Shape& shape, DType dtype, i64 period = 13) {
  std::vector<double> values(static_cast<std::size_t>(shape.elements()));
  u64 state = 12345;
  for (double& v : values) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    v = static_cast<double>(static_cast<i64>((state >> 33) % static_cast<u64>(period)) - period / 2);
  }
  return from_vector(values, shape, dtype, Device::cpu);
}
template <class Fn> void same(const Tensor& x, const Fn& op) {
  CAPTURE(to_string(x.shape()));
  CAPTURE(name(x.dtype()));
  const Tensor y = op(x), there = op(x.to(Device::cuda));
  CHECK(there.device() == Device::cuda);
  CHECK(there.shape() == y.shape());
  CHECK(there.dtype() == y.dtype());
  CHECK(there.to_vector<double>() == y.to_vector<double>());
}

}  // namespace

TEST_CASE("cuda reduce: rows of every length, whole and with borders that are not those of 16 bytes") {
  if (!on_cuda()) return;
  const DeviceScope scope(Device::cpu);
  for (const DType t : {DType::f32, DType::f64, DType::i32, DType::i64, DType::boolean})
    for (const i64 n : {1, 3, 8, 31, 64, 257, 1000, 5000}) {
      const Tensor x = whole({3, n}, t, t == DType::boolean ? 2 : 13);
      const auto last = [](const auto& op) { return [op](const Tensor& v) { return op(v, Axes{1}, false); }; };
      const auto total = [](const Tensor& v, const Axes& a, bool) { return sum(v, a); };
      same(x, last(total));
      same(slice(x, 1, {n > 1 ? 1 : 0, kEnd}), last(total));
      same(slice(x, 1, {0, kEnd, 2}), last(total));
      if (t == DType::boolean) {
        same(x, last([](const Tensor& v, const Axes& a, bool) { return any(v, a); }));
        same(x, last([](const Tensor& v, const Axes& a, bool) { return all(v, a); }));
      } else {
        same(x, last([](const Tensor& v, const Axes& a, bool) { return amax(v, a); }));
        same(x, last([](const Tensor& v, const Axes& a, bool) { return amin(v, a); }));
      }
    }
}

TEST_CASE("cuda reduce: one long row, few columns of many rows, and both with partial results of partial results") {
  if (!on_cuda()) return;
  const DeviceScope scope(Device::cpu);
  const auto total = [](const Tensor& v) { return sum(v); };
  const auto rows = [](const Tensor& v) { return sum(v, 0); };
  const auto middle = [](const Tensor& v) { return sum(v, 1); };
  for (const DType t : {DType::f32, DType::f64, DType::i32, DType::i64, DType::boolean}) {
    same(whole({100003}, t, 2), total);
    same(whole({2, 40000}, t, 2), [](const Tensor& v) { return sum(v, 1); });
    same(whole({100000, 3}, t, 2), rows);
    same(whole({20000, 33}, t, 2), rows);
    same(whole({2, 3000, 40}, t, 2), middle);
    same(whole({3, 2, 700}, t, 2), middle);
  }
  same(whole({60000, 2}, DType::f32), [](const Tensor& v) { return amax(v, 0); });
  same(whole({60000, 2}, DType::bf16), [](const Tensor& v) { return amin(v, 0); });
}

TEST_CASE("cuda reduce: NaN wherever it is, and a sum that a single f32 accumulator would get wrong") {
  if (!on_cuda()) return;
  const DeviceScope scope(Device::cpu);
  for (const i64 at : {i64{0}, i64{77}, i64{9000}, i64{69999}}) {
    std::vector<double> values(70000, 1);
    values[static_cast<std::size_t>(at)] = std::numeric_limits<double>::quiet_NaN();
    const Tensor x = from_vector(values, {70000}, DType::f32, Device::cuda);
    for (const Tensor& y : {sum(x), amax(x), amin(x), prod(x)}) CHECK(y.item() != y.item());
  }
  // Each addition to 2^24 would be lost: 2^24 + 0.25 n is right to the last place only with partial sums.
  const Tensor quarter = full({1 << 17}, 0.25, DType::f32, Device::cuda);
  CHECK(sum(quarter).item() == 32768);
  const Tensor tenth = full({300000}, 0.1, DType::f32, Device::cuda);
  CHECK(sum(tenth).item() == doctest::Approx(30000.000447).epsilon(3e-7));
}

TEST_CASE("cuda cumsum, linear_scan: tiles, chunks, both directions, rows and columns") {
  if (!on_cuda()) return;
  const DeviceScope scope(Device::cpu);
  for (const DType t : {DType::f32, DType::f64, DType::i64, DType::boolean})
    for (const Shape& shape : {Shape{3, 129}, Shape{2, 5000}, Shape{1, 3000, 3}, Shape{2, 100, 40}, Shape{9, 1}})
      for (const bool reverse : {false, true})
        for (const bool exclusive : {false, true})
          same(whole(shape, t, 3), [&](const Tensor& v) { return cumsum(v, 1, {reverse, exclusive}); });
  for (const bool reverse : {false, true})
    for (const Shape& shape : {Shape{3, 200}, Shape{2, 40, 5}})
      same(whole(shape, DType::i64, 3), [&](const Tensor& v) { return linear_scan(v, v, 1, reverse); });
}

TEST_CASE("cuda global_norm: short, long, misaligned, every p") {
  if (!on_cuda()) return;
  const DeviceScope scope(Device::cpu);
  for (const double p : {1.0, 2.0, 3.0, std::numeric_limits<double>::infinity()})
    for (const DType t : {DType::f32, DType::f64, DType::bf16}) {
      const Tensor x = whole({30000}, t), y = whole({7}, t), z = slice(whole({301}, t), 0, {1, kEnd});
      const Tensor here[] = {x, y, z}, there[] = {x.to(Device::cuda), y.to(Device::cuda),
                                                  slice(whole({301}, t).to(Device::cuda), 0, {1, kEnd})};
      CHECK(global_norm(there, p).item() == doctest::Approx(global_norm(here, p).item()).epsilon(1e-13));
    }
}
