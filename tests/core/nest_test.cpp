#include "core/nest.h"

#include <doctest/doctest.h>

#include <vector>

using namespace moegrad;

namespace {

Nest<2> nest_of(const std::vector<i64>& sizes, const std::vector<i64>& a, const std::vector<i64>& b) {
  Nest<2> nest;
  nest.rank = static_cast<int>(sizes.size());
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    nest.sizes[i] = sizes[i];
    nest.strides[0][i] = a[i];
    nest.strides[1][i] = b[i];
  }
  return nest;
}

struct Offsets {
  i64 a, b;
  bool operator==(const Offsets&) const = default;
};

// What [begin, end) of the nest touches, element by element.
std::vector<Offsets> visited(const Nest<2>& nest, i64 begin, i64 end) {
  std::vector<Offsets> all;
  const int last = nest.rank - 1;
  walk(nest, begin, end, [&](const i64* offset, i64 n) {
    for (i64 i = 0; i < n; ++i)
      all.push_back({offset[0] + i * nest.strides[0][last], offset[1] + i * nest.strides[1][last]});
  });
  return all;
}

}  // namespace

TEST_CASE("nest: contiguous operands become one loop, broadcast ones as few as possible") {
  Nest<2> dense = nest_of({2, 3, 4}, {12, 4, 1}, {12, 4, 1});
  merge_axes(dense);
  CHECK((dense.rank == 1 && dense.inner() == 24 && dense.dense(0) && dense.dense(1)));
  Nest<2> row = nest_of({2, 3, 4}, {12, 4, 1}, {0, 4, 1});  // the second operand repeats along the first axis
  merge_axes(row);
  CHECK((row.rank == 2 && row.sizes[0] == 2 && row.sizes[1] == 12 && row.strides[1][0] == 0 && !row.dense(0)));
  Nest<2> ones = nest_of({1, 1}, {7, 9}, {0, 3});
  merge_axes(ones);
  CHECK((ones.rank == 1 && ones.elements() == 1));
  Nest<2> gaps = nest_of({1, 5, 1, 2}, {99, 2, 99, 1}, {0, 2, 0, 1});
  merge_axes(gaps);
  CHECK((gaps.rank == 1 && gaps.inner() == 10));
  Nest<2> none = nest_of({2, 0, 3}, {0, 3, 1}, {0, 3, 1});
  merge_axes(none);
  CHECK(none.elements() == 0);
  CHECK(visited(none, 0, 0).empty());
}

TEST_CASE("nest: merged or not, in one piece or in parts, the same elements in the same order") {
  const Nest<2> nests[] = {nest_of({2, 3, 4}, {12, 4, 1}, {1, 2, 6}),
                           nest_of({2, 3, 4}, {0, 4, 1}, {12, 4, 1}),
                           nest_of({3, 1, 5, 2}, {-10, 0, 2, 1}, {10, 10, 2, 1}),
                           nest_of({7}, {-3}, {1}),
                           nest_of({4, 6}, {6, 1}, {0, 0}),
                           nest_of({1}, {1}, {1})};
  for (const Nest<2>& plain : nests) {
    std::vector<Offsets> expected;
    for (i64 n = 0; n < plain.elements(); ++n) {
      Offsets o{0, 0};
      i64 rest = n;
      for (int i = plain.rank - 1; i >= 0; rest /= plain.sizes[i], --i) {
        o.a += rest % plain.sizes[i] * plain.strides[0][i];
        o.b += rest % plain.sizes[i] * plain.strides[1][i];
      }
      expected.push_back(o);
    }
    Nest<2> merged = plain;
    merge_axes(merged);
    const i64 total = plain.elements();
    CHECK(visited(plain, 0, total) == expected);
    CHECK(visited(merged, 0, total) == expected);
    for (i64 cut = 0; cut <= total; ++cut) {
      std::vector<Offsets> parts = visited(merged, 0, cut);
      for (const Offsets& o : visited(merged, cut, total)) parts.push_back(o);
      CHECK(parts == expected);
    }
  }
}
