#include "core/memory.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <thread>

#include "core/tensor.h"

using namespace moegrad;

namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kCaching = false;  // so that the sanitizer sees every use after free
#else
constexpr bool kCaching = true;
#endif

std::uintptr_t address(const Tensor& x) { return reinterpret_cast<std::uintptr_t>(x.bytes()); }

}  // namespace

TEST_CASE("memory: storage is aligned to 64 bytes, for every size and dtype") {
  for (i64 n : {0, 1, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 1000, 4096, 123457})
    for (DType t : {DType::f32, DType::f64, DType::boolean}) CHECK(address(empty({n}, t)) % 64 == 0);
}

TEST_CASE("memory: blocks hold what they promise, whatever their size class") {
  for (std::size_t bytes = 1; bytes < 5000; bytes += bytes < 700 ? 1 : 37) {
    void* a = memory::allocate_block(bytes);
    void* b = memory::allocate_block(bytes);
    std::memset(a, 1, bytes);  // under the address sanitizer, a class that is too small shows here
    std::memset(b, 2, bytes);
    CHECK(*(static_cast<char*>(a) + bytes - 1) == 1);
    CHECK(reinterpret_cast<std::uintptr_t>(b) % 64 == 0);
    memory::free_block(a, bytes);
    memory::free_block(b, bytes);
  }
  void* none = memory::allocate_block(0);
  CHECK(none != nullptr);
  memory::free_block(none, 0);
}

TEST_CASE("memory: a freed block is given to the next request of its size class, and only to that") {
  if (!kCaching) return;
  const DeviceScope scope(Device::cpu);
  memory::release_cache();
  Tensor x = empty({1000});
  const std::uintptr_t first = address(x);
  x = {};
  CHECK(memory::stats().cached_bytes >= 4000);
  CHECK(address(empty({100})) != first);
  const Tensor again = empty({990});  // 4024 and 3960 bytes are of one class
  CHECK(address(again) == first);
  const Tensor other = empty({1000});
  CHECK(address(other) != first);
  memory::release_cache();
  CHECK(memory::stats().cached_bytes == 0);
}

TEST_CASE("memory: current and peak bytes, and the number of allocations") {
  const memory::Stats before = memory::stats();
  memory::reset_peak();
  {
    const Tensor x = empty({1000}, DType::f64);
    const Tensor view = x[3];  // no storage of its own
    {
      const Tensor y = empty({500}, DType::f32);
      CHECK(memory::stats().current_bytes == before.current_bytes + 10000);
    }
    CHECK(memory::stats().current_bytes == before.current_bytes + 8000);
  }
  const memory::Stats after = memory::stats();
  CHECK(after.current_bytes == before.current_bytes);
  CHECK(after.peak_bytes == before.current_bytes + 10000);
  CHECK(after.allocations == before.allocations + 2);
  memory::reset_peak();
  CHECK(memory::stats().peak_bytes == before.current_bytes);
}

TEST_CASE("memory: logs count storages by their number of elements, also inside another log") {
  memory::AllocationLog outer;
  const Tensor a = empty({10});
  {
    memory::AllocationLog inner;
    const Tensor b = empty({10}, DType::f64), c = empty({20}), d = empty({0});
    CHECK((inner.count(10) == 1 && inner.count(20) == 1 && inner.count(0) == 1 && inner.count(11) == 0));
    CHECK((inner.count_at_least(11) == 1 && inner.count_at_least(10) == 2 && inner.count_at_least(21) == 0));
    CHECK((inner.largest() == 20 && inner.bytes() == 160));
  }
  const Tensor e = empty({30});
  CHECK((outer.count(10) == 2 && outer.count(20) == 1 && outer.largest() == 30 && outer.bytes() == 320));
  CHECK(memory::AllocationLog().largest() == 0);
}

TEST_CASE("memory: a request that no machine can serve is an error, and leaves everything usable") {
  const DeviceScope scope(Device::cpu);
  const memory::Stats before = memory::stats();
  const i64 side = i64{1} << 30;
  CHECK_THROWS_WITH_AS(empty({side, side}), "memory: 1152921504606846976 elements of f32 are more than any machine has",
                       Error);
  CHECK_THROWS_WITH_AS(empty({side, i64{1} << 15}),
                       "memory: 35184372088832 elements of f32 are more than any machine has", Error);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they end the program where a system refuses
  try {
    empty({side, i64{1} << 13});  // 32 TiB, of which nothing is touched: some systems promise even that
  } catch (const Error& e) {
    CHECK(std::string(e.what()).find("memory: the system has no ") == 0);
  }
#endif
  CHECK_THROWS_WITH_AS(zeros({side, side, side}),
                       "zeros: a tensor holds at most 2^62 elements; got shape [1073741824, 1073741824, 1073741824]",
                       ShapeError);
  CHECK(memory::stats().current_bytes == before.current_bytes);
  CHECK(ones({2}).to_vector<float>() == std::vector<float>{1, 1});
}

TEST_CASE("memory: each thread counts and caches by itself on a CPU") {
  const DeviceScope scope(Device::cpu);
  const memory::Stats before = memory::stats();
  i64 inside = -1;
  std::thread([&] {
    const DeviceScope inside_too(Device::cpu);
    memory::AllocationLog log;
    const Tensor x = empty({1000});
    inside = memory::stats().current_bytes;
  }).join();
  CHECK(inside == 4000);
  CHECK(memory::stats().current_bytes == before.current_bytes);
  CHECK(memory::stats().allocations == before.allocations);
}

TEST_CASE("memory: a tensor may outlive the cache of the thread that made it") {
  static Tensor kept;  // destroyed after the thread-local cache of the main thread, when the program ends
  kept = ones({300});
  std::thread([] {
    thread_local Tensor last;  // made before the thread's cache, so destroyed after it
    last = ones({300});
  }).join();
  CHECK(kept.size() == 300);
}
