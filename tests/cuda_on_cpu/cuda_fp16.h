// CUDA's type of half precision, as far as matrices of it are loaded.
#pragma once

struct alignas(2) __half {
  unsigned short bits;
};
inline unsigned short __half_as_ushort(__half v) { return v.bits; }
