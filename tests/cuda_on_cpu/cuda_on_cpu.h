// What tests may ask of the emulation, and what the headers of this folder ask of its engine.
#pragma once
#include <cstddef>
#include <cstdint>

namespace cuda_on_cpu {

/// The order in which the threads of a block take their turns, and the blocks of a grid. In the first three, threads go on
/// from one meeting of a warp to the next in turns; with `warps`, a warp goes on as far as it can before the next begins:
/// what it writes before others have read is seen only so.
enum class Order { forward, reverse, random, warps };
/// The environment's CUDA_ON_CPU_ORDER = forward | reverse | random[:seed] | warps says it at the start.
void set_order(Order order, std::uint64_t seed = 0);
Order order();

/// The launch's dynamic shared memory: 0xff at the start of every block.
void* dynamic_shared();

/// Ends a sticky error (a failed launch, a write outside of an allocation), as a new process would.
void recover();

/// Lets a crash that has to do with the device say so first. (Done by itself when memory is first allocated; for programs
/// that change signal handlers after that.)
void catch_crashes();

/// Whether [p, p + bytes) lies within one live allocation on the device.
bool is_device_memory(const void* p, std::size_t bytes = 1);
/// Live allocations on the device.
std::size_t allocations();

struct Here {  // a place in the source
  const char* file;
  unsigned line;
  static constexpr Here current(const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) {
    return {file, line};
  }
};

/// What the lanes of a warp do together: `shuffle` answers with the value of lane `source`, `ballot` with one bit a lane,
/// `agree` with 1 if all 32 lanes are there and give the same value, else 0.
enum class Exchange : unsigned char { sync, shuffle, ballot, agree };
std::uint64_t exchange(Exchange kind, unsigned mask, std::uint64_t value, int source, Here at);

/// How the threads of a block combine their predicates at a barrier.
enum class Vote : unsigned char { none, any, all, count };
int barrier(Vote vote, int predicate, Here at);

/// Ends the launch with the error `thread .. of block .. <what> in <place>`.
[[noreturn]] void refuse(const char* what, Here at);

}  // namespace cuda_on_cpu
