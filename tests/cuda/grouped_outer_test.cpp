// Sums over groups of rows in a capture, where only the device knows their borders: tiles with tails in every direction,
// strips with tails, groups of no rows, of whole strips and of many, in packs of 16 bytes and one by one.
#include <doctest/doctest.h>

#include <limits>

#include "core/graph.h"
#include "ops/cast.h"
#include "ops/grouped_matmul.h"
#include "ops/slice.h"
#include "ops/views.h"
#include "tests/support/check_op.h"
#include "tests/support/on_cuda.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

using Borders = std::vector<i64>;

// y[e] = sum over the rows r of group e of x[r]^T z[r], in f64.
Tensor naive_outer(const Tensor& x_any, const Tensor& z_any, const Borders& begin) {
  const Tensor x = cast(x_any, DType::f64), z = cast(z_any, DType::f64);
  const i64 groups = static_cast<i64>(begin.size()) - 1, inner = x.dim(1), outer = z.dim(1);
  Tensor y = zeros({groups, inner, outer}, DType::f64);
  for (i64 e = 0; e < groups; ++e)
    for (i64 r = begin[static_cast<std::size_t>(e)]; r < begin[static_cast<std::size_t>(e + 1)]; ++r)
      for (i64 i = 0; i < inner; ++i) {
        const double factor = x.data<double>()[r * inner + i];
        for (i64 j = 0; j < outer; ++j)
          y.data<double>()[(e * inner + i) * outer + j] += factor * z.data<double>()[r * outer + j];
      }
  return y;
}

// The same values on the GPU; shifted: one element behind a multiple of 16 bytes.
Tensor on_gpu(const Tensor& x, bool shifted) {
  if (!shifted) return x.to(Device::cuda);
  const Tensor all = place(flatten(x), 0, x.size() + 1, 1).to(Device::cuda);
  const Tensor view = reshape(slice(all, 0, {1}), x.shape());
  REQUIRE(view.strides() == x.strides());
  return view;
}

double error_of(const Tensor& x, const Tensor& z, const Borders& begin, bool shifted = false) {
  const DeviceScope scope(Device::cpu);
  const Tensor there = from_vector(begin, {static_cast<i64>(begin.size())}).to(Device::cuda);
  const Tensor x_there = on_gpu(x, shifted), z_there = on_gpu(z, shifted);
  Tensor y;
  const Graph graph = Graph::capture([&] { y = grouped_outer(x_there, z_there, there); });
  graph.replay();
  return difference(cast(y.to(Device::cpu), DType::f64), naive_outer(x, z, begin));
}

Tensor random_rows(i64 rows, i64 columns, u64 seed, DType dtype) {
  const DeviceScope scope(Device::cpu);
  return random_tensor({rows, columns}, seed, -1, 1, dtype);
}
void set_nan(const Tensor& x, i64 from, i64 to) {
  const DeviceScope scope(Device::cpu);
  for (i64 r = from; r < to; ++r)
    for (i64 c = 0; c < x.dim(1); ++c) set_value(x, {r, c}, std::numeric_limits<double>::quiet_NaN());
}

// Of sums of up to 653 products: the terms of f64 and f32 sums are rounded to 1e-16 and 6e-8 of themselves; of bf16, the
// sums are those of f32, and rounded once, to 2^-9 of themselves.
double allowed(DType dtype) { return dtype == DType::f64 ? 1e-13 : dtype == DType::f32 ? 2e-5 : 0x1p-8; }
constexpr DType kDtypes[] = {DType::f32, DType::f64, DType::bf16};

// 0, 1, 31, 32, 33, 127, 129 and 300 rows, then 20 of no group.
const Borders kBegin{0, 0, 1, 32, 64, 97, 224, 353, 653};
constexpr i64 kRows = 673;

}  // namespace

TEST_CASE("cuda grouped_outer: groups of every size, widths with tails, in packs and one by one") {
  if (!on_cuda()) return;
  for (const DType dtype : kDtypes)
    for (const auto& [inner, outer] : {std::pair<i64, i64>{152, 264}, {131, 257}, {1, 3}}) {
      CAPTURE(name(dtype));
      CAPTURE(inner);
      const Tensor x = random_rows(kRows, inner, 1, dtype), z = random_rows(kRows, outer, 2, dtype);
      set_nan(x, 653, kRows), set_nan(z, 653, kRows);
      CHECK_LE(error_of(x, z, kBegin), allowed(dtype));
    }
}

TEST_CASE("cuda grouped_outer: views that do not begin at a multiple of 16 bytes") {
  if (!on_cuda()) return;
  for (const DType dtype : kDtypes) {
    CAPTURE(name(dtype));
    const Tensor x = random_rows(60, 16, 1, dtype), z = random_rows(60, 24, 2, dtype);
    CHECK_LE(error_of(x, z, {0, 5, 59}, true), allowed(dtype));
  }
}

TEST_CASE("cuda grouped_outer: all rows in one group, and none in any") {
  if (!on_cuda()) return;
  for (const DType dtype : kDtypes) {
    CAPTURE(name(dtype));
    const Tensor x = random_rows(kRows, 40, 1, dtype), z = random_rows(kRows, 24, 2, dtype);
    CHECK_LE(error_of(x, z, {0, 0, 0, kRows, kRows}), allowed(dtype));
    CHECK(error_of(x, z, {0, 0, 0}) == 0);
  }
}

TEST_CASE("cuda grouped_outer: NaN stays in its group") {
  if (!on_cuda()) return;
  for (const DType dtype : kDtypes)
    for (const i64 inner : {24, 21}) {
      CAPTURE(name(dtype));
      CAPTURE(inner);
      const Tensor x = random_rows(100, inner, 1, dtype), z = random_rows(100, 40, 2, dtype);
      set_nan(x, 20, 35), set_nan(z, 60, 75);  // both sides of the NaN share strips with it
      CHECK_LE(error_of(x, z, {0, 20, 35, 60, 75, 100}), allowed(dtype));
    }
}

TEST_CASE("cuda grouped_outer: more rows of tiles than a band has") {
  if (!on_cuda()) return;
  for (const DType dtype : kDtypes) {
    CAPTURE(name(dtype));
    const i64 inner = dtype == DType::f64 ? 1100 : 2200, outer = dtype == DType::bf16 ? 264 : 136;
    const Tensor x = random_rows(5, inner, 1, dtype), z = random_rows(5, outer, 2, dtype);
    CHECK_LE(error_of(x, z, {0, 2, 5}), allowed(dtype));
  }
}
