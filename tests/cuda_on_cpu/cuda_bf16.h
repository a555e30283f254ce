// CUDA's type of bf16, as far as matrices of it are named: kernels compute with moegrad's.
#pragma once

struct alignas(2) __nv_bfloat16 {
  unsigned short bits;
};
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 v) { return v.bits; }
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) { return {bits}; }
