// What a kernel may call. Atomics are plain: the threads of all blocks run on one thread of the host.
#pragma once
#include <math.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "atomics.h"
#include "cuda_on_cpu.h"
#include "vector_types.h"

inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

namespace cuda_on_cpu {

template <class T> std::uint64_t to_bits(T v) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
  std::uint64_t bits = 0;
  std::memcpy(&bits, &v, sizeof v);
  return bits;
}
template <class T> T from_bits(std::uint64_t bits) {
  T v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}

inline int lane() { return int((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32); }
template <class T> T shuffle(unsigned mask, T v, int source, Here at) {
  return from_bits<T>(exchange(Exchange::shuffle, mask, to_bits(v), source, at));
}

}  // namespace cuda_on_cpu

// ---- barriers and warps. `at` is where the kernel calls; kernels leave it out ------------------------

inline void __syncthreads(cuda_on_cpu::Here at = cuda_on_cpu::Here::current()) {
  cuda_on_cpu::barrier(cuda_on_cpu::Vote::none, 0, at);
}
inline int __syncthreads_or(int predicate, cuda_on_cpu::Here at = cuda_on_cpu::Here::current()) {
  return cuda_on_cpu::barrier(cuda_on_cpu::Vote::any, predicate, at);
}
inline int __syncthreads_and(int predicate, cuda_on_cpu::Here at = cuda_on_cpu::Here::current()) {
  return cuda_on_cpu::barrier(cuda_on_cpu::Vote::all, predicate, at);
}
inline int __syncthreads_count(int predicate, cuda_on_cpu::Here at = cuda_on_cpu::Here::current()) {
  return cuda_on_cpu::barrier(cuda_on_cpu::Vote::count, predicate, at);
}
inline void __syncwarp(unsigned mask = ~0u, cuda_on_cpu::Here at = cuda_on_cpu::Here::current()) {
  cuda_on_cpu::exchange(cuda_on_cpu::Exchange::sync, mask, 0, 0, at);
}
template <class T>
T __shfl_sync(unsigned mask, T v, int source, int width = 32, cuda_on_cpu::Here at = cuda_on_cpu::Here::current()) {
  return cuda_on_cpu::shuffle(mask, v, (cuda_on_cpu::lane() & -width) + (source & (width - 1)), at);
}
template <class T>
T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32, cuda_on_cpu::Here at = cuda_on_cpu::Here::current()) {
  const int me = cuda_on_cpu::lane(), source = me - int(by);
  return cuda_on_cpu::shuffle(mask, v, source >= (me & -width) ? source : me, at);
}
template <class T>
T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32,
                   cuda_on_cpu::Here at = cuda_on_cpu::Here::current()) {
  const int me = cuda_on_cpu::lane(), source = me + int(by);
  return cuda_on_cpu::shuffle(mask, v, source < (me & -width) + width ? source : me, at);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int with, int width = 32, cuda_on_cpu::Here at = cuda_on_cpu::Here::current()) {
  const int me = cuda_on_cpu::lane(), source = me ^ with;
  return cuda_on_cpu::shuffle(mask, v, source < (me & -width) + width ? source : me, at);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, cuda_on_cpu::Here at = cuda_on_cpu::Here::current()) {
  return unsigned(cuda_on_cpu::exchange(cuda_on_cpu::Exchange::ballot, mask, predicate != 0, 0, at));
}
inline int __any_sync(unsigned mask, int predicate, cuda_on_cpu::Here at = cuda_on_cpu::Here::current()) {
  return __ballot_sync(mask, predicate, at) != 0;
}
inline int __all_sync(unsigned mask, int predicate, cuda_on_cpu::Here at = cuda_on_cpu::Here::current()) {
  return __ballot_sync(mask, !predicate, at) == 0;
}
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
[[noreturn]] inline void __trap(cuda_on_cpu::Here at = cuda_on_cpu::Here::current()) {
  cuda_on_cpu::refuse("traps", at);
}

// ---- arithmetic --------------------------------------------------------------------------------------

template <class T> T __ldg(const T* p) { return *p; }
template <class T> T __ldcs(const T* p) { return *p; }
template <class T> void __stcs(T* p, T v) { *p = v; }
inline int __popc(unsigned v) { return std::popcount(v); }
inline int __popcll(unsigned long long v) { return std::popcount(v); }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline int __ffsll(long long v) { return __builtin_ffsll(v); }
inline int __clz(int v) { return std::countl_zero(unsigned(v)); }
inline int __clzll(long long v) { return std::countl_zero(static_cast<unsigned long long>(v)); }
inline unsigned __brev(unsigned v) {
  unsigned r = 0;
  for (int i = 0; i < 32; ++i) r |= (v >> i & 1u) << (31 - i);
  return r;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned(std::uint64_t{a} * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  __extension__ using wide = unsigned __int128;
  return static_cast<unsigned long long>(wide{a} * b >> 64);
}
inline int __float_as_int(float v) { return std::bit_cast<int>(v); }
inline unsigned __float_as_uint(float v) { return std::bit_cast<unsigned>(v); }
inline float __int_as_float(int v) { return std::bit_cast<float>(v); }
inline float __uint_as_float(unsigned v) { return std::bit_cast<float>(v); }
inline long long __double_as_longlong(double v) { return std::bit_cast<long long>(v); }
inline double __longlong_as_double(long long v) { return std::bit_cast<double>(v); }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / ::sqrt(x); }
inline float rsqrt(float x) { return rsqrtf(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __frcp_rn(float x) { return 1 / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }

// NVIDIA's overloads of min and max, those of mixed types included; a NaN loses against a number.
inline constexpr int min(int a, int b) { return a < b ? a : b; }
inline constexpr unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline constexpr unsigned min(int a, unsigned b) { return min(unsigned(a), b); }
inline constexpr unsigned min(unsigned a, int b) { return min(a, unsigned(b)); }
inline constexpr long min(long a, long b) { return a < b ? a : b; }
inline constexpr unsigned long min(unsigned long a, unsigned long b) { return a < b ? a : b; }
inline constexpr long long min(long long a, long long b) { return a < b ? a : b; }
inline constexpr unsigned long long min(unsigned long long a, unsigned long long b) { return a < b ? a : b; }
inline float min(float a, float b) { return fminf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double min(float a, double b) { return fmin(double(a), b); }
inline double min(double a, float b) { return fmin(a, double(b)); }
inline constexpr int max(int a, int b) { return a > b ? a : b; }
inline constexpr unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
inline constexpr unsigned max(int a, unsigned b) { return max(unsigned(a), b); }
inline constexpr unsigned max(unsigned a, int b) { return max(a, unsigned(b)); }
inline constexpr long max(long a, long b) { return a > b ? a : b; }
inline constexpr unsigned long max(unsigned long a, unsigned long b) { return a > b ? a : b; }
inline constexpr long long max(long long a, long long b) { return a > b ? a : b; }
inline constexpr unsigned long long max(unsigned long long a, unsigned long long b) { return a > b ? a : b; }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
inline double max(float a, double b) { return fmax(double(a), b); }
inline double max(double a, float b) { return fmax(a, double(b)); }
