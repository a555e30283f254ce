#include "core/parallel.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <string>

#include "core/errors.h"

namespace moegrad {

namespace {

struct Job {
  Chunks ranges;
  RangeBody body;
  void* captures;
  // Real synchronisation is OpenMP's. ThreadSanitizer cannot see it, so two atomics repeat it: everything before the
  // loop happens before each range, and each range happens before everything after the loop.
  std::atomic<bool> started{false};
  std::atomic<i64> ended{0};
  std::atomic_flag failure_lock{};
  i64 failed_range = -1;
  std::exception_ptr failure{};
};

// An exception must not leave an OpenMP region (it would end the process), so the lowest range's is kept.
void keep_failure(Job& job, i64 range) {
  while (job.failure_lock.test_and_set(std::memory_order_acquire)) {
  }
  if (job.failed_range < 0 || range < job.failed_range) {
    job.failed_range = range;
    job.failure = std::current_exception();
  }
  job.failure_lock.clear(std::memory_order_release);
}

void run_ranges(Job& job, i64 first, i64 step) {
  job.started.load(std::memory_order_acquire);
  for (i64 r = first; r < job.ranges.count; r += step) {
    try {
      job.body(job.captures, job.ranges.begin(r), job.ranges.end(r));
    } catch (...) {
      keep_failure(job, r);
    }
  }
  job.ended.fetch_add(1, std::memory_order_acq_rel);
}

// ThreadSanitizer must not watch this function: a new thread reads the address of `job` before it can acquire anything.
__attribute__((no_sanitize("thread"))) void run_in_team(Job& job) {
#pragma omp parallel num_threads(static_cast <int>(job.ranges.count))
  run_ranges(job, omp_get_thread_num(), omp_get_num_threads());  // OpenMP may grant fewer threads: hence the stride
}

}  // namespace

int num_threads() { return omp_get_max_threads(); }

void set_num_threads(int count) {
  if (count < 1) throw Error("set_num_threads: count must be at least 1; got " + std::to_string(count));
  omp_set_num_threads(count);
}

void parallel_ranges(i64 n, i64 grain, RangeBody body, void* captures) {
  const i64 useful = grain < 1 ? n : (n - 1) / grain + 1;
  const i64 threads = omp_in_parallel() ? 1 : std::min<i64>(omp_get_max_threads(), useful);
  if (threads <= 1) return body(captures, 0, n);
  Job job{{n, threads}, body, captures};
  job.started.store(true, std::memory_order_release);
  run_in_team(job);
  job.ended.load(std::memory_order_acquire);
  if (job.failure) std::rethrow_exception(job.failure);
}

}  // namespace moegrad
