#include "ops/routes.h"

#include <doctest/doctest.h>

#include "core/autograd.h"
#include "ops/cast.h"
#include "ops/one_hot.h"
#include "ops/views.h"
#include "tests/support/on_cuda.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// Small whole numbers, whose sums are exact in any order, so that devices agree to the last bit.
Tensor numbers(const Shape& shape, DType dtype, int seed) {
  std::vector<double> v(static_cast<std::size_t>(shape.elements()));
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<double>((i * 7919 + i / 13 + 31 * seed) % 17) - 8;
  return cast(from_vector(v, shape, DType::f64, Device::cpu), dtype);
}
// Classes in [-1, n), those of neighbours often alike.
Tensor classes(const Shape& rows, i64 n, int seed) {
  std::vector<i64> v(static_cast<std::size_t>(rows.elements()));
  for (std::size_t i = 0; i < v.size(); ++i)
    v[i] = static_cast<i64>((i * i / 5 + i % 3 + static_cast<std::size_t>(seed)) % static_cast<std::size_t>(n + 1)) - 1;
  return from_vector(v, rows, DType::i64, Device::cpu);
}

struct Case {
  Shape rows;
  std::vector<i64> classes;
  Shape x;
  Labels lx, ly;
  bool scaled = true;
};

std::vector<double> sum_on(Device device, const Case& c, DType dtype, bool strided) {
  std::vector<Tensor> index;
  Shape sizes;
  for (std::size_t j = 0; j < c.classes.size(); ++j) {
    index.push_back(classes(c.rows, c.classes[j], static_cast<int>(j)).to(device));
    sizes.push_back(c.classes[j]);
  }
  const auto routes = std::make_shared<const Routes>(c.rows, index, sizes);
  Tensor x = numbers(c.x, dtype, 1).to(device);
  if (strided) x = swap_axes(contiguous(swap_axes(x, 0, -1)), 0, -1);
  const Tensor scale = c.scaled && is_float(dtype) ? numbers(c.rows, dtype, 2).to(device) : Tensor{};
  return route_sum(routes, scale, x, c.lx, c.ly).to_vector<double>();
}

void compare(const Case& c) {
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::i32, DType::i64})
    for (const bool strided : {false, true}) {
      INFO("rows " << c.rows[0] << ", dtype " << name(dtype) << ", strided " << strided);
      CHECK(sum_on(Device::cuda, c, dtype, strided) == sum_on(Device::cpu, c, dtype, strided));
    }
}

constexpr int f = kFeature;

}  // namespace

TEST_CASE("cuda: route_sum reads rows of every width, in packs and one by one") {
  if (!on_cuda()) return;
  for (const i64 d : {1, 3, 8, 33, 64, 1025, 1032, 5000}) compare({{7}, {5}, {5, d}, {~0, f}, {0, f}});
  compare({{5000}, {5}, {5, 8}, {~0, f}, {0, f}});
  compare({{2, 3}, {4, 2}, {4, 2, 16}, {~0, ~1, f}, {0, 1, f}});  // two class axes
  compare({{3, 4}, {4}, {3, 4, 8}, {0, ~0, f}, {0, 1, f}});       // a row axis that x has, too
}

TEST_CASE("cuda: route_sum adds up few rows in one thread and many in tiles") {
  if (!on_cuda()) return;
  for (const i64 k : {1, 2, 63, 64, 1025}) compare({{6, k}, {5}, {5, 16}, {~0, f}, {0, f}});
  compare({{5000}, {5}, {5, 3}, {~0, f}, {f}});
  compare({{3000}, {5}, {5}, {~0}, {}});  // one number
}

TEST_CASE("cuda: route_sum scatters: runs within tiles, across them and over many") {
  if (!on_cuda()) return;
  for (const i64 n : {1, 16, 33, 1025, 5000}) {
    compare({{n}, {5}, {n, 8}, {0, f}, {~0, f}});
    compare({{n}, {300}, {n, 12}, {0, f}, {~0, f}});  // most destinations are empty
  }
  compare({{3000}, {1}, {3000}, {0}, {~0}});
  compare({{2000}, {3}, {2000, 300}, {0, f}, {~0, f}});
  compare({{40000}, {7}, {40000}, {0}, {~0}});                   // tiles of more than 16 rows
  compare({{3, 50}, {4}, {3, 50, 8}, {0, 1, f}, {0, ~0, f}});    // groups
  compare({{70, 20}, {4}, {70, 20, 8}, {0, 1, f}, {0, ~0, f}});  // so many that a CPU adds in place
  compare({{200}, {4, 3}, {200, 8}, {0, f}, {~0, ~1, f}});       // two class axes
  compare({{33}, {4}, {33, 8}, {0, f}, {0, ~0, f}});             // each row has its own place
  compare({{33}, {4}, {33, 1032}, {0, f}, {0, ~0, f}});          // in several parts
}

TEST_CASE("cuda: route_sum copies bool and bf16 as they are; empty tables") {
  if (!on_cuda()) return;
  const Case c{{33}, {5}, {5, 32}, {~0, f}, {0, f}, false};
  for (const DType dtype : {DType::boolean, DType::bf16})
    CHECK(sum_on(Device::cuda, c, dtype, false) == sum_on(Device::cpu, c, dtype, false));
  compare({{0}, {5}, {0, 8}, {0, f}, {~0, f}});
  compare({{4}, {5}, {4, 0}, {0, f}, {~0, f}});
  compare({{4}, {0}, {4, 8}, {0, f}, {~0, f}});
}

TEST_CASE("cuda: route_dot of rows of every width") {
  if (!on_cuda()) return;
  for (const i64 d : {0, 1, 3, 8, 33, 64, 1025, 5000})
    for (const DType dtype : {DType::f32, DType::f64, DType::bf16}) {
      std::vector<std::vector<double>> dots;
      for (const Device device : {Device::cpu, Device::cuda}) {
        const auto routes =
            std::make_shared<const Routes>(Shape{41}, std::vector<Tensor>{classes({41}, 5, 0).to(device)}, Shape{5});
        dots.push_back(route_dot(routes, numbers({5, d}, dtype, 1).to(device), {~0, f},
                                 numbers({41, d}, dtype, 2).to(device), {0, f})
                           .to_vector<double>());
      }
      INFO(d << " " << name(dtype));
      CHECK(dots[0] == dots[1]);
    }
}
