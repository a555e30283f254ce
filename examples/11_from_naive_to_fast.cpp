// Lesson 11: from a naive kernel to the library's, in four measured steps.
//
// A *kernel* is the innermost loop that does the work of an operation. The most important one is the product of two
// matrices, y_ij = sum_k a_ik b_kj: almost all the work of a network is in it. For n x n matrices it takes 2 n^3
// FLOPs (multiplications and additions), in whatever way one writes it, but the time differs by a large factor. What differs
// is where the numbers are when they are needed. A processor core
//
//   - reads memory in lines of 64 bytes, so neighbours come for free, and keeps what was read lately in a *cache*;
//   - can do the same to 4, 8 or 16 neighbouring numbers by one instruction (*vectors*);
//   - has some dozens of *registers*, the only numbers that it can compute with; all others must be loaded and stored;
//   - is not alone: there are several cores.
//
// Each step below makes use of one more of these. Times are of this machine, now; compare them with each other only.
#include "examples/lesson.h"

using namespace moegrad;
using namespace lesson;

constexpr i64 n = 256;
using Matrix = std::vector<float>;  // element (i, j) is at i n + j

// 0. The definition. For each k the loop goes to the next row of b, n numbers on: every number costs a line of memory.
void naive(const float* a, const float* b, float* y) {
  for (i64 i = 0; i < n; ++i)
    for (i64 j = 0; j < n; ++j) {
      float sum = 0;
      for (i64 k = 0; k < n; ++k) sum += a[i * n + k] * b[k * n + j];
      y[i * n + j] = sum;
    }
}

// 1. The same products in another order: row i of y is a sum of rows of b. Now the innermost loop runs along rows of b
// and y, neighbours after neighbours, and the compiler makes vectors of them.
void by_rows(const float* a, const float* b, float* y) {
  std::fill_n(y, n * n, 0.0f);
  for (i64 i = 0; i < n; ++i)
    for (i64 k = 0; k < n; ++k) {
      const float factor = a[i * n + k];
      for (i64 j = 0; j < n; ++j) y[i * n + j] += factor * b[k * n + j];
    }
}

// 2. Step 1 loads and stores a number of y for every product. A tile of y that is small enough for the registers stays
// there for all k, and each number of b that is loaded serves kRows rows.
constexpr i64 kRows = 4, kColumns = 32;
static_assert(n % kRows == 0 && n % kColumns == 0);

void tile(const float* a, const float* b, float* y) {  // from the tile's first row of a, column of b, element of y
  float sum[kRows][kColumns] = {};
  for (i64 k = 0; k < n; ++k)
    for (i64 r = 0; r < kRows; ++r)
#pragma omp simd
      for (i64 c = 0; c < kColumns; ++c) sum[r][c] += a[r * n + k] * b[k * n + c];
  for (i64 r = 0; r < kRows; ++r) std::copy_n(sum[r], kColumns, y + r * n);
}
void some_tiles(const float* a, const float* b, float* y, i64 first, i64 end) {  // tiles of rows first .. end - 1
  for (i64 j = 0; j < n; j += kColumns)  // these columns of b stay in the cache while all rows of a go by
    for (i64 i = first; i < end; i += kRows) tile(a + i * n, b + j, y + i * n + j);
}
void in_tiles(const float* a, const float* b, float* y) { some_tiles(a, b, y, 0, n); }

// 3. Rows of y do not depend on each other: every core takes some.
void on_all_cores(const float* a, const float* b, float* y) {
  parallel_for(n / kRows, 1, [&](i64 begin, i64 end) { some_tiles(a, b, y, begin * kRows, end * kRows); });
}

int main() {
  begin(11, "from a naive kernel to the library's, in four measured steps");
  Random random(11);
  const Tensor a = random_normal({n, n}, 0, 1, random.next()), b = random_normal({n, n}, 0, 1, random.next());
  const Matrix a_numbers = a.to_vector<float>(), b_numbers = b.to_vector<float>();

  // f32 has 24 binary digits. Each of the n products and sums of an element is rounded once, so an element can be off by
  // 2 n 2^-24 times the sum of |a_ik b_kj|, however the sum is ordered. More than that is a bug.
  const Tensor exact = matmul(cast(a, DType::f64), cast(b, DType::f64));
  const Tensor allowed = cast(matmul(abs(a), abs(b)), DType::f64) * (2.0 * n * std::pow(2.0, -24));
  const auto right = [&](const Tensor& y) { return amax(abs(cast(y, DType::f64) - exact) / allowed).item() <= 1; };

  say("The product of two {} x {} matrices of f32: {:.0f} million FLOPs. This process may use {} threads.", n, n,
      2e-6 * double(n * n * n), num_threads());
  double first = 0;
  const auto report = [&](const std::string& step, double ms) {
    if (first == 0) first = ms;
    show(fmt::format("{:28} {:8.2f} ms  {:7.1f} GFLOP/s  {:6.1f} times step 0", step, ms, 2e-6 * double(n * n * n) / ms,
                     first / ms));
  };
  struct Step {
    const char* name;
    void (*run)(const float*, const float*, float*);
  };
  for (const Step& step : {Step{"0 the definition", naive}, Step{"1 along rows", by_rows},
                           Step{"2 tiles in registers", in_tiles}, Step{"3 on all cores", on_all_cores}}) {
    Matrix y(n * n, std::numeric_limits<float>::quiet_NaN());  // a number that was forgotten would show
    report(step.name, milliseconds(3, [&] { step.run(a_numbers.data(), b_numbers.data(), y.data()); }));
    check(fmt::format("step {}: every element is right, up to rounding", step.name), right(from_vector(y, {n, n})));
  }
  Tensor y;
  report("4 the library: matmul", milliseconds(10, [&] { y = matmul(a, b); }));
  check("step 4 the library: every element is right, up to rounding", right(y));

  say("The library calls OpenBLAS here. It does what step 3 does and two things more: it copies parts of a and b "
      "into the order in which its tiles read them, sized for each level of cache, and its tile is written by hand "
      "for each kind of processor. Kernels of this library that no BLAS has (softmax, norms, gathers) are written "
      "like steps 1 to 3.");

  // The same reasoning tells which operations cannot be made fast by tiles: those that use each number once. Their limit is
  // how fast memory is read, and the way out is to do more with a number while it is there (lesson 12: softmax).
  const Tensor large = random_normal({1 << 22}, 0, 1, random.next());
  const double sum_ms = milliseconds(3, [&] { sum(large); });
  say("In the product each number is used n = {} times. A sum uses it once: over 4 million numbers, in {:.1f} ms, "
      "it does {:.1f} GFLOP/s, because it must read {:.1f} GB/s for them.",
      n, sum_ms, 1e-6 * double(large.size()) / sum_ms, 4e-6 * double(large.size()) / sum_ms);
  check("the sum is right, up to rounding",
        std::abs(sum(large).item() - sum(cast(large, DType::f64)).item()) < 1e-7 * sum(abs(large)).item());
  return finish();
}
