// Lesson 12: reading a CUDA kernel.
//
// A GPU runs one function, the *kernel*, in thousands of *threads* at once. They come in *blocks*; all blocks together are
// the *grid*. A thread knows its number in its block and the number of its block, and from these two it decides what is its
// share of the work. Within a block, 32 threads with neighbouring numbers form a *warp*: they run in step and can read each
// other's registers (a *shuffle*). Warps of a block exchange numbers through a small *shared memory*, and wait for each
// other at a *barrier*, `__syncthreads()`, so that nobody reads what is not written yet.
//
// Have cuda/softmax.cu beside this text, at softmax_rows_kernel; `RowPart` and `Team` are in cuda/rows.cuh, the reductions in
// cuda/reduce.cuh. It computes, for every row x of n numbers,
//
//   y_i = e^(x_i - top) / sum_j e^(x_j - top),   top = the largest x_j   (so that no exponential overflows)
//
// Here is the same kernel in plain C++: what all threads of a block do at once is a loop over threads, and what a thread
// keeps in registers is an array with an entry per thread.
#include <array>

#include "core/cuda.h"
#include "core/math.h"
#include "examples/lesson.h"

using namespace moegrad;
using namespace lesson;

constexpr unsigned kWarp = 32;  // threads of a warp
constexpr int V = 4, K = 2;     // a thread keeps K packs of V neighbouring numbers: one load takes a pack, 16 bytes

using Each = std::vector<float>;  // one number per thread of a block

float larger(float a, float b) { return b > a ? b : a; }
float plus(float a, float b) { return a + b; }

// One round of warp_reduce, a shuffle: every thread gets the number of the thread whose own number differs in the bit `by`,
// and combines the two, that of the lower thread first. All threads give and take at the same moment.
template <class Op> Each exchange(const Each& v, unsigned by, Op op) {
  Each after(v.size());
  for (unsigned t = 0; t < v.size(); ++t) after[t] = (t & by) != 0 ? op(v[t ^ by], v[t]) : op(v[t], v[t ^ by]);
  return after;
}
// After rounds 1, 2, 4, 8 and 16 all 32 threads of a warp have the same result. No barrier is needed: a warp runs in step.
template <class Op> Each warp_reduce(Each v, Op op) {
  for (unsigned by = 1; by < kWarp; by *= 2) v = exchange(v, by, op);
  return v;
}

// block_reduce: the first thread of each warp writes its warp's result to shared memory; behind the barrier every warp reads
// all of them, and reduces once more.
template <class Op> Each block_reduce(Each v, Op op, float identity) {
  v = warp_reduce(v, op);
  const unsigned warps = static_cast<unsigned>(v.size()) / kWarp;
  Each partial(warps);  // __shared__
  for (unsigned t = 0; t < v.size(); ++t)
    if (t % kWarp == 0) partial[t / kWarp] = v[t];
  // __syncthreads()
  for (unsigned t = 0; t < v.size(); ++t) v[t] = t % kWarp < warps ? partial[t % kWarp] : identity;
  return warp_reduce(v, op);
}

// One block: one row. (For rows of up to 32 packs a block takes several, a team of lanes each.)
void softmax_row(const float* x, float* y, i64 n, unsigned threads) {
  const float lowest = -math::Format<float>::kInfinity;
  std::vector<std::array<float, V * K>> part(threads);  // RowPart, in registers
  const auto index = [&](unsigned t, unsigned k) { return (i64{k} * threads + t) * V; };

  // part.load: neighbouring threads read neighbouring packs, so a warp reads whole lines of memory. Threads beyond the end of
  // the row hold -infinity, which is never the largest, and whose exponential is 0.
  for (unsigned t = 0; t < threads; ++t)
    for (unsigned k = 0; k < K; ++k)
      for (unsigned v = 0; v < V; ++v) part[t][k * V + v] = index(t, k) < n ? x[index(t, k) + v] : lowest;

  // The largest number: each thread of its own 8, then all threads together.
  Each top(threads, lowest), sum(threads, 0);
  for (unsigned t = 0; t < threads; ++t)
    for (const float value : part[t]) top[t] = larger(top[t], value);
  top = block_reduce(top, larger, lowest);

  // The sum of exponentials, in the same way. The row is in registers: x is not read again.
  for (unsigned t = 0; t < threads; ++t)
    for (const float value : part[t]) sum[t] += math::exp(value - top[t]);
  sum = block_reduce(sum, plus, 0);

  // part.store
  for (unsigned t = 0; t < threads; ++t)
    for (unsigned k = 0; k < K; ++k)
      for (unsigned v = 0; v < V; ++v)
        if (index(t, k) < n) y[index(t, k) + v] = math::exp(part[t][k * V + v] - top[t]) * (1 / sum[t]);
}

int main() {
  begin(12, "reading a CUDA kernel");
  say("A reduction in rounds. Eight threads have a number each; in every round each adds that of its partner:");
  Each v{1, 2, 3, 4, 5, 6, 7, 8};
  for (unsigned by = 1; by <= 8; by *= 2) {
    std::string line = by == 1 ? "at first    " : fmt::format("partner +-{} ", by / 2);
    for (const float number : v) line += fmt::format("{:4.0f}", number);
    show(line);
    if (by < 8) v = exchange(v, by, plus);
  }
  check("after 3 rounds all 8 threads have 1 + 2 + .. + 8 = 36", v == Each(8, 36));
  say("Sums of floats depend on their order. That of the rounds is fixed, so every run gives the same bits.");

  // The launch (rows_grid in cuda/rows.cuh): enough threads for n numbers at V K each, rounded up to whole warps.
  const i64 rows = 64, n = 1000;
  const unsigned threads = (static_cast<unsigned>(n) / (V * K) + kWarp - 1) / kWarp * kWarp;
  Random random(12);
  const Tensor x = random_normal({rows, n}, 0, 3, random.next());
  const std::vector<float> numbers = x.to_vector<float>();
  std::vector<float> result(numbers.size());
  for (i64 row = 0; row < rows; ++row)  // the grid: blocks know nothing of each other and run in any order
    softmax_row(numbers.data() + row * n, result.data() + row * n, n, threads);
  const Tensor y = from_vector(result, {rows, n});
  say("{} rows of {} numbers: a block for each, of {} threads or {} warps; a thread keeps {} numbers.", rows, n,
      threads, threads / kWarp, V * K);
  check("125 threads would do, whole warps are 128", threads == 128);
  // How far from exact may it be? A float is rounded to 2^-24 of itself. An exponential goes through 7 additions in its own
  // thread and 2 * 5 rounds; the distance to top, up to `spread`, is rounded before it is an exponent; 4 more for the rest.
  const Tensor exact = softmax(cast(x, DType::f64), -1);
  const auto apart = [&](const Tensor& a) { return amax(abs(cast(a, DType::f64) - exact) / exact).item(); };
  const double unit = std::pow(2.0, -24), spread = amax(amax(x, 1) - amin(x, 1)).item(),
               allowed = (17 + spread + 4) * unit;
  say("Computed with the 53 digits of f64, the result differs by {:.1e} of itself; {:.1e} could be explained by "
      "rounding. The library's kernel for the CPU adds in another order, and differs by {:.1e}. A loop that adds "
      "all {} numbers one after the other could be wrong by {:.0e}: a tree is not only faster.",
      apart(y), allowed, apart(softmax(x, -1)), n, (double(n) + spread + 4) * unit);
  check("the kernel in loops = softmax, up to rounding", apart(y) <= allowed);
  check("softmax(x) = softmax, up to rounding", apart(softmax(x, -1)) <= (double(n) + spread + 4) * unit);
  say("It reads every number once and writes it once. Written as three loops over memory, for the largest, the sum "
      "and the result, it would read a row three times. Memory is what such a kernel waits for, on a GPU as on a "
      "CPU (lesson 11).");

  // Where there is a GPU (or its stand-in on the CPU, the preset cuda-on-cpu), the kernel itself.
  if constexpr (kWithCuda) {
    if (!cuda::unavailable().empty()) {
      say("This build has a GPU backend, but no GPU: {}.", cuda::unavailable());
      return finish();
    }
    const Tensor of_kernel = softmax(x.to(Device::cuda), -1).to(Device::cpu);
    const std::vector<float> bits = of_kernel.to_vector<float>();
    i64 same = 0;
    for (std::size_t i = 0; i < bits.size(); ++i) same += bits[i] == result[i];
    say("softmax_rows_kernel on {}: {} of {} numbers are the same to the bit.", cuda::device_name(), same, bits.size());
    check("the kernel itself = softmax, up to rounding", apart(of_kernel) <= allowed);
  } else {
    say("This build has no GPU backend. cmake --preset cuda-on-cpu makes one that runs the kernels on the CPU, "
        "thread by thread, as the loops here do; this lesson then compares with them.");
  }
  return finish();
}
