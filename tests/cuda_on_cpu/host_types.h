// Types and constants of the CUDA runtime, as far as they are used.
#pragma once
#include <cstddef>

#include "vector_types.h"

#define CUDA_ON_CPU_ERRORS(ERROR)                                                                                   \
  ERROR(cudaSuccess, 0, "no error")                                                                                 \
  ERROR(cudaErrorInvalidValue, 1, "invalid argument")                                                               \
  ERROR(cudaErrorMemoryAllocation, 2, "out of memory")                                                              \
  ERROR(cudaErrorInvalidConfiguration, 9, "invalid configuration argument")                                         \
  ERROR(cudaErrorInvalidDevicePointer, 17, "invalid device pointer")                                                \
  ERROR(cudaErrorInvalidMemcpyDirection, 21, "invalid copy direction for memcpy")                                   \
  ERROR(cudaErrorStubLibrary, 34, "CUDA driver is a stub library")                                                  \
  ERROR(cudaErrorInsufficientDriver, 35, "CUDA driver version is insufficient")                                     \
  ERROR(cudaErrorNoDevice, 100, "no CUDA-capable device is detected")                                               \
  ERROR(cudaErrorInvalidDevice, 101, "invalid device ordinal")                                                      \
  ERROR(cudaErrorInvalidResourceHandle, 400, "invalid resource handle")                                             \
  ERROR(cudaErrorNotReady, 600, "device not ready")                                                                 \
  ERROR(cudaErrorIllegalAddress, 700, "an illegal memory access was encountered")                                   \
  ERROR(cudaErrorLaunchFailure, 719, "unspecified launch failure")                                                  \
  ERROR(cudaErrorNotSupported, 801, "operation not supported")                                                      \
  ERROR(cudaErrorStreamCaptureUnsupported, 900, "operation not permitted when stream is capturing")                 \
  ERROR(cudaErrorStreamCaptureInvalidated, 901, "operation failed due to a previous error during capture")          \
  ERROR(cudaErrorStreamCaptureUnmatched, 903, "capture was not initiated in this stream")                           \
  ERROR(cudaErrorStreamCaptureUnjoined, 904, "capturing stream has unjoined work")                                  \
  ERROR(cudaErrorStreamCaptureImplicit, 906, "operation would make the legacy stream depend on a capturing stream") \
  ERROR(cudaErrorCapturedEvent, 907, "operation not permitted on an event last recorded in a capturing stream")     \
  ERROR(cudaErrorStreamCaptureWrongThread, 908, "attempt to terminate a capture from another thread")               \
  ERROR(cudaErrorUnknown, 999, "unknown error")

enum cudaError_t {
#define ERROR(NAME, VALUE, TEXT) NAME = VALUE,
  CUDA_ON_CPU_ERRORS(ERROR)
#undef ERROR
};

enum cudaMemcpyKind {
  cudaMemcpyHostToHost = 0,
  cudaMemcpyHostToDevice = 1,
  cudaMemcpyDeviceToHost = 2,
  cudaMemcpyDeviceToDevice = 3,
  cudaMemcpyDefault = 4
};
enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal,
  cudaStreamCaptureModeThreadLocal,
  cudaStreamCaptureModeRelaxed
};
enum cudaStreamCaptureStatus {
  cudaStreamCaptureStatusNone,
  cudaStreamCaptureStatusActive,
  cudaStreamCaptureStatusInvalidated
};
enum cudaGraphNodeType {
  cudaGraphNodeTypeKernel = 0,
  cudaGraphNodeTypeMemcpy = 1,
  cudaGraphNodeTypeMemset = 2,
  cudaGraphNodeTypeHost = 3,
  cudaGraphNodeTypeGraph = 4,
  cudaGraphNodeTypeEmpty = 5
};
enum cudaFuncAttribute {
  cudaFuncAttributeMaxDynamicSharedMemorySize = 8,
  cudaFuncAttributePreferredSharedMemoryCarveout = 9
};
enum cudaDeviceAttr {
  cudaDevAttrMaxThreadsPerBlock = 1,
  cudaDevAttrMaxGridDimX = 5,
  cudaDevAttrMaxGridDimY = 6,
  cudaDevAttrMaxGridDimZ = 7,
  cudaDevAttrMaxSharedMemoryPerBlock = 8,
  cudaDevAttrWarpSize = 10,
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrL2CacheSize = 38,
  cudaDevAttrMaxThreadsPerMultiProcessor = 39,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
  cudaDevAttrMemoryPoolsSupported = 115
};

constexpr unsigned cudaStreamDefault = 0, cudaStreamNonBlocking = 1;
constexpr unsigned cudaEventDefault = 0, cudaEventBlockingSync = 1, cudaEventDisableTiming = 2;

using cudaStream_t = struct CUstream_st*;
using cudaEvent_t = struct CUevent_st*;
using cudaGraph_t = struct CUgraph_st*;
using cudaGraphExec_t = struct CUgraphExec_st*;
using cudaGraphNode_t = struct CUgraphNode_st*;
struct cudaGraphEdgeData;
struct cudaLaunchAttribute;

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
  cudaLaunchAttribute* attrs;
  unsigned numAttrs;
};

struct cudaDeviceProp {
  char name[256];
  std::size_t totalGlobalMem;
  std::size_t sharedMemPerBlock;
  int regsPerBlock;
  int warpSize;
  int maxThreadsPerBlock;
  int maxThreadsDim[3];
  int maxGridSize[3];
  std::size_t totalConstMem;
  int major;
  int minor;
  int multiProcessorCount;
  int l2CacheSize;
  int maxThreadsPerMultiProcessor;
  std::size_t sharedMemPerMultiprocessor;
  std::size_t sharedMemPerBlockOptin;
};
