// CUDA's type of bf16, as far as matrices of it are named: kernels compute with moegrad's.
#pragma once

struct alignas(2) __nv_bfloat16 {
  unsigned short bits;
};
