// Kernels that put things in order: sort, slots, permutations, positions.
#include <doctest/doctest.h>

#include <limits>

#include "core/random.h"
#include "ops/cast.h"
#include "ops/nonzero.h"
#include "ops/random.h"
#include "ops/scatter.h"
#include "ops/slice.h"
#include "ops/slots.h"
#include "ops/sort.h"
#include "tests/support/on_cuda.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// Numbers with ties, NaN, infinities and zeros of both signs.
Tensor mixed(const Shape& shape, DType dtype, u64 seed) {
  std::vector<double> v(static_cast<std::size_t>(shape.elements()));
  constexpr double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  const double special[] = {nan, inf, -inf, 0, -0.0};
  u64 state = seed;
  for (double& e : v) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const u64 r = state >> 40;
    e = r % 11 < 5 && is_float(dtype) ? special[r % 11] : static_cast<double>(r % 4001) / 8 - 250;
  }
  return cast(from_vector(v, shape, DType::f64, Device::cpu), dtype);
}

// Chosen experts in [-1, n).
Tensor choices(const Shape& shape, i64 n, u64 seed) {
  std::vector<i64> v(static_cast<std::size_t>(shape.elements()));
  u64 state = seed;
  for (i64& e : v) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    e = static_cast<i64>((state >> 33) % static_cast<u64>(n + 1)) - 1;
  }
  return from_vector(v, shape, DType::i64, Device::cpu);
}

using List = std::vector<i64>;

}  // namespace

TEST_CASE("cuda: sort and top_k of rows of every length, and every dtype") {
  if (!on_cuda()) return;
  for (const i64 n : {1, 2, 5, 32, 33, 64, 1024, 1025, 2048, 2049, 5000, 9000})
    for (const DType dtype : {DType::f32, DType::bf16, DType::f64, DType::i32, DType::i64, DType::boolean}) {
      if (n > 100 && dtype != DType::f32 && dtype != DType::f64) continue;
      const Tensor x = mixed({3, n}, dtype, static_cast<u64>(n)), on_gpu = x.to(Device::cuda);
      for (const bool descending : {false, true}) {
        INFO(n << " " << name(dtype) << (descending ? " descending" : " ascending"));
        CHECK(argsort(on_gpu, -1, descending).to_vector<i64>() == argsort(x, -1, descending).to_vector<i64>());
        for (const i64 k : {1, 2, 8, 9, 100})
          if (k <= n)
            CHECK(top_k(on_gpu, k, -1, descending).indices.to_vector<i64>() ==
                  top_k(x, k, -1, descending).indices.to_vector<i64>());
      }
    }
  const Tensor many = mixed({700, 6}, DType::f32, 1), wide = mixed({700, 40}, DType::f32, 2);
  CHECK(argsort(many.to(Device::cuda)).to_vector<i64>() == argsort(many).to_vector<i64>());
  CHECK(top_k(wide.to(Device::cuda), 2).indices.to_vector<i64>() == top_k(wide, 2).indices.to_vector<i64>());
}

TEST_CASE("cuda: slots are those of the CPU") {
  if (!on_cuda()) return;
  for (const i64 n : {0, 1, 31, 33, 1024, 1025, 3000})
    for (const i64 experts : {1, 5, 300}) {
      INFO(n << " tokens, " << experts << " experts");
      const Tensor chosen = choices({n, 2}, experts, 7);
      const Slots a = sorted_slots(chosen.to(Device::cuda), experts), b = sorted_slots(chosen, experts);
      CHECK(a.row.to_vector<i64>() == b.row.to_vector<i64>());
      CHECK(a.token.to_vector<i64>() == b.token.to_vector<i64>());
      CHECK(a.begin.to_vector<i64>() == b.begin.to_vector<i64>());
      const Tensor groups = choices({3, n, 2}, experts, 8);
      for (const i64 capacity : {i64{0}, i64{1}, n / experts + 1, n}) {
        const Slots c = capacity_slots(groups.to(Device::cuda), experts, capacity),
                    d = capacity_slots(groups, experts, capacity);
        CHECK(c.row.to_vector<i64>() == d.row.to_vector<i64>());
        CHECK(c.token.to_vector<i64>() == d.token.to_vector<i64>());
      }
    }
}

TEST_CASE("cuda: permutations are those of the CPU") {
  if (!on_cuda()) return;
  for (const i64 n : {0, 1, 2, 33, 1025, 5000, 70000})
    for (const u64 seed : {1, 2}) {
      Random on_cpu(seed, Device::cpu), on_gpu(seed, Device::cuda);
      on_cpu.advance(), on_gpu.advance();
      CHECK(random_permutation(n, on_gpu.next()).to_vector<i64>() ==
            random_permutation(n, on_cpu.next()).to_vector<i64>());
    }
}

TEST_CASE("cuda: random numbers are those of the CPU, to the last element") {
  if (!on_cuda()) return;
  for (const i64 n : {0, 1, 3, 4, 1025, 5000})
    for (const DType dtype : {DType::f32, DType::f64, DType::bf16}) {
      const Draw a = Random(5, Device::cpu).next(), b = Random(5, Device::cuda).next();
      CHECK(random_uniform({n}, -1, 3, a, dtype).to_vector<double>() ==
            random_uniform({n}, -1, 3, b, dtype).to_vector<double>());
      CHECK(random_normal({n}, 1, 2, a, dtype).to_vector<double>() ==
            random_normal({n}, 1, 2, b, dtype).to_vector<double>());
      CHECK(random_integers({n}, -5, 1000, a).to_vector<i64>() == random_integers({n}, -5, 1000, b).to_vector<i64>());
    }
}

TEST_CASE("cuda: positions of true elements, in packs and one by one") {
  if (!on_cuda()) return;
  for (const Shape& shape : {Shape{}, Shape{1}, Shape{33}, Shape{3, 1025}, Shape{5000}, Shape{7, 3000}}) {
    const Tensor x = cast(choices(shape, 1, 3), DType::boolean);
    CHECK(nonzero(x.to(Device::cuda)).to_vector<i64>() == nonzero(x).to_vector<i64>());
  }
  const Tensor x = cast(choices({5000}, 1, 4), DType::boolean);
  CHECK(nonzero(slice(x.to(Device::cuda), 0, {3, 4999})).to_vector<i64>() ==
        nonzero(slice(x, 0, {3, 4999})).to_vector<i64>());
}

TEST_CASE("cuda: the last of many entries stays") {
  if (!on_cuda()) return;
  const Tensor x = mixed({4, 50}, DType::i64, 1), index = choices({4, 3000}, 50, 2),
               source = mixed({4, 3000}, DType::i64, 3);
  CHECK(scatter(x.to(Device::cuda), 1, index.to(Device::cuda), source.to(Device::cuda)).to_vector<i64>() ==
        scatter(x, 1, index, source).to_vector<i64>());
}
