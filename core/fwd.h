// The few names that every header of moegrad needs. Heavier things are included where they are used;
// kernels (also GPU kernels) include this file and nothing heavier from core/.
#pragma once
#include <cstdint>

namespace moegrad {

using i64 = std::int64_t;
using i32 = std::int32_t;
using u64 = std::uint64_t;
using u32 = std::uint32_t;

class Tensor;
class Shape;
enum class DType : std::uint8_t;
enum class Device : std::uint8_t;

}  // namespace moegrad

// Marks a formula that both a CPU loop and a GPU kernel call. It is always inlined, because a loop with a call in it is
// not vectorised, and in a large source file the compiler's own budget for inlining runs out.
#if defined(__CUDACC__)
#define MOEGRAD_HD __host__ __device__
#elif defined(__GNUC__)
#define MOEGRAD_HD __attribute__((always_inline))
#else
#define MOEGRAD_HD
#endif
