#include "core/parallel.h"

#include <doctest/doctest.h>
#include <omp.h>

#include <atomic>
#include <cmath>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/errors.h"

using namespace moegrad;

namespace {

struct WithThreads {
  int before = num_threads();
  explicit WithThreads(int count) { set_num_threads(count); }
  ~WithThreads() { set_num_threads(before); }
};

}  // namespace

TEST_CASE("parallel_for: every index exactly once, in ranges that are worth a thread") {
  for (int threads : {1, 2, 3, 7}) {
    WithThreads scope(threads);
    for (i64 n : {0, 1, 2, 3, 6, 7, 8, 63, 64, 65, 1000})
      for (i64 grain : {1, 2, 7, 64, 5000}) {
        std::vector<int> visits(static_cast<std::size_t>(n), 0);
        std::atomic<i64> ranges{0}, shortest{n};
        parallel_for(n, grain, [&](i64 begin, i64 end) {
          ++ranges;
          for (i64 s = shortest; end - begin < s && !shortest.compare_exchange_weak(s, end - begin);) {
          }
          for (i64 i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
        });
        CAPTURE(n);
        CAPTURE(grain);
        CAPTURE(threads);
        CHECK(visits == std::vector<int>(static_cast<std::size_t>(n), 1));
        CHECK(ranges <= threads);
        if (n > 0 && n <= grain) CHECK(ranges == 1);
        if (n > grain) CHECK(2 * shortest >= grain);
      }
  }
}

TEST_CASE("parallel_for: short, empty and negative loops stay in the calling thread") {
  WithThreads scope(3);
  int calls = 0;
  const auto caller = std::this_thread::get_id();
  parallel_for(100, 100, [&](i64 begin, i64 end) {
    ++calls;
    CHECK((begin == 0 && end == 100));
    CHECK(std::this_thread::get_id() == caller);
    CHECK(!omp_in_parallel());
  });
  CHECK(calls == 1);
  parallel_for(0, 0, [&](i64, i64) { ++calls; });
  parallel_for(-5, 1, [&](i64, i64) { ++calls; });
  CHECK(calls == 1);
}

TEST_CASE("parallel_for: really uses the threads it may use") {
  WithThreads scope(3);
  std::atomic<int> ids{0};
  parallel_for(3, 1, [&](i64, i64) { ids += 1 << (8 * omp_get_thread_num()); });
  CHECK(ids == 0x010101);
}

TEST_CASE("parallel_for: a nested loop runs inline in the thread that reached it") {
  WithThreads scope(3);
  std::atomic<i64> sum{0}, inner_calls{0};
  parallel_for(6, 1, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; ++i) {
      const auto thread = std::this_thread::get_id();
      parallel_for(1000, 1, [&](i64 first, i64 last) {
        ++inner_calls;
        if (std::this_thread::get_id() == thread) sum += last - first;
      });
    }
  });
  CHECK(sum == 6000);
  CHECK(inner_calls == 6);
}

TEST_CASE("parallel_for: an exception reaches the caller, the lowest range's first, and the next loop works") {
  for (int threads : {1, 2, 3}) {
    WithThreads scope(threads);
    std::string caught;
    std::atomic<i64> reached{0};
    try {
      parallel_for(300, 1, [&](i64 begin, i64 end) {
        reached += end - begin;
        throw std::runtime_error(std::to_string(begin));
      });
    } catch (const std::runtime_error& error) {
      caught = error.what();
    }
    CHECK(caught == "0");
    CHECK(reached == 300);
    reached = 0;
    parallel_for(300, 1, [&](i64 begin, i64 end) { reached += end - begin; });
    CHECK(reached == 300);
  }
  int number = 0;  // anything may be thrown
  try {
    parallel_for(3, 8, [](i64, i64) { throw 7; });
  } catch (int thrown) {
    number = thrown;
  }
  CHECK_EQ(number, 7);
}

TEST_CASE("parallel_for: loops of several user threads do not disturb each other") {
  std::atomic<i64> total{0};
  std::vector<std::thread> users;
  for (int u = 0; u < 3; ++u)
    users.emplace_back([&] {
      for (int repeat = 0; repeat < 20; ++repeat)
        parallel_for(1000, 10, [&](i64 begin, i64 end) { total += end - begin; });
    });
  for (std::thread& user : users) user.join();
  CHECK(total == 3 * 20 * 1000);
}

TEST_CASE("Chunks: borders cover [0, n), differ in size by at most one, and know nothing of threads") {
  for (i64 n : {0, 1, 2, 63, 64, 65, 127, 1000, 1 << 20})
    for (i64 grain : {1, 2, 7, 100}) {
      const Chunks chunks = reduction_chunks(n, grain);
      CAPTURE(n);
      CAPTURE(grain);
      CHECK((chunks.count >= 1 && chunks.count <= kMaxChunks));
      if (chunks.count > 1) CHECK(n / chunks.count >= grain);
      CHECK(chunks.begin(0) == 0);
      CHECK(chunks.end(chunks.count - 1) == n);
      for (i64 c = 0; c < chunks.count; ++c) {
        const i64 size = chunks.end(c) - chunks.begin(c);
        CHECK((size == n / chunks.count || size == n / chunks.count + 1));
      }
      WithThreads scope(3);
      CHECK(reduction_chunks(n, grain).count == chunks.count);
    }
  CHECK(reduction_chunks(std::int64_t{1} << 62, 1).end(kMaxChunks - 1) == std::int64_t{1} << 62);
}

TEST_CASE("parallel_reduce: the same bits for 1, 2, 3 and 5 threads; the identity only for an empty range") {
  const auto sum = [](i64 n, i64 grain) {
    return parallel_reduce(
        n, grain, 0.0f,
        [](i64 begin, i64 end) {
          float s = 0;
          for (i64 i = begin; i < end; ++i) s += 1.0f / static_cast<float>(i + 1);
          return s;
        },
        [](float a, float b) { return a + b; });
  };
  for (i64 n : {0, 1, 5, 64, 129, 100000}) {
    WithThreads scope(1);
    const float expected = sum(n, 16);
    for (int threads : {2, 3, 5}) {
      set_num_threads(threads);
      CHECK(sum(n, 16) == expected);
    }
  }
  CHECK(sum(100000, 16) == doctest::Approx(12.090146).epsilon(1e-6));
  const auto first = [](i64 begin, i64) { return begin; };
  const auto smaller = [](i64 a, i64 b) { return a < b ? a : b; };
  CHECK(parallel_reduce(i64{0}, 1, i64{-7}, first, smaller) == -7);
  CHECK(parallel_reduce(i64{900}, 1, i64{-7}, first, smaller) == 0);
}

TEST_CASE("parallel_reduce: combines in order along a fixed tree") {
  const auto text = [](i64 n) {
    return parallel_reduce(
        n, 1, std::string("empty"),
        [](i64 begin, i64 end) { return std::to_string(begin) + ":" + std::to_string(end); },
        [](std::string a, std::string b) { return "(" + a + " " + b + ")"; });
  };
  CHECK(text(0) == "empty");
  CHECK(text(1) == "0:1");
  CHECK(text(5) == "(((0:1 1:2) (2:3 3:4)) 4:5)");
}

TEST_CASE("set_num_threads: a count below one is an error that shows it") {
  const int before = num_threads();
  CHECK_THROWS_WITH_AS(set_num_threads(0), "set_num_threads: count must be at least 1; got 0", Error);
  CHECK(num_threads() == before);
}
