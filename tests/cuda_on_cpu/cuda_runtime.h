// CUDA on CPU: runs CUDA C++ kernels on the CPU, for tests. This folder comes first on the include path of the .cu
// files, which g++ or clang compiles as C++: `#include <cuda_runtime.h>` finds this file instead of NVIDIA's.
//
// Blocks run one after the other, so that a __shared__ variable is simply a static one. The threads of a block are
// fibers; each runs until it waits (__syncthreads, __syncwarp, a shuffle) or ends, which is the most adverse legal
// schedule: where a barrier is missing, a thread reads what its neighbour has not yet written.
//
// Not seen: what static __shared__ variables hold before they are written (they keep the values of the block before),
// __launch_bounds__, static shared memory of more than 48 KB, pointers to host memory inside structs, and work that
// overlaps (streams do everything at once; a launch reports at once what a GPU would report at the next wait).
#pragma once
#include <math.h>
#include <stdlib.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#define CUDA_ON_CPU 1
#define __host__
#define __device__
#define __global__
#define __constant__
#define __grid_constant__
#define __shared__ static
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __forceinline__ inline
#define __noinline__  // empty: libstdc++ writes __attribute__((__noinline__))

#include "cuda_on_cpu.h"
#include "device_api.h"
#include "host_api.h"
#include "vector_types.h"
