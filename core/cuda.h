// What core, ops and nn ask of the GPU backend, without CUDA's own headers. All of it is implemented in cuda/; a build
// without that folder calls none of it (if constexpr (kWithCuda)).
//
// There is one stream: work is done in the order in which it was asked for, by any thread, and the host goes on at once.
// It waits only where it reads values: copy_to_host and synchronize.
#pragma once
#include <string>

#include "core/fwd.h"

namespace moegrad::cuda {

/// Empty where a GPU can be used, else the reason: "no driver was found", ..
const std::string& unavailable();
/// "NVIDIA H100 80GB HBM3", for a person. Throws DeviceError where there is none.
std::string device_name();

// ---- memory

/// Device memory, kept and reused when it is released: no synchronisation, because whoever gets it next works behind
/// those who had it before. Zero bytes are fine. Throws Error: out of memory.
void* allocate(i64 bytes, void** owner);
void release(void* data, i64 bytes, void* owner);

/// Bytes of device memory of all threads together.
struct MemoryStats {
  i64 current_bytes = 0;
  i64 peak_bytes = 0;
  i64 cached_bytes = 0;  ///< released, kept for reuse
  i64 allocations = 0;
};
MemoryStats memory_stats();
void reset_peak();
/// Gives cached memory back to the driver.
void release_cache();

// ---- copies

/// Returns once `from` may change; does not wait for the device. Throws Error in a capture: a graph would keep the
/// address, and not the values.
void copy_to_device(void* to, const void* from, i64 bytes);
/// Waits for everything asked for so far, then throws what a kernel reported (cuda/fault.cuh). Throws Error in a
/// capture.
void copy_to_host(void* to, const void* from, i64 bytes);
void copy_on_device(void* to, const void* from, i64 bytes);

// ---- waiting

/// Waits for everything asked for so far; throws what a kernel reported.
void synchronize();
/// How often the host has waited so far.
i64 synchronizations();
/// A graph is being captured (cuda/graph.h).
bool capturing();
/// For ops whose result has a shape that depends on values. Throws Error in a capture, naming the op.
void synchronising(const char* op);

// ---- matrix products

/// Lets products of f32 round their operands to TF32 (10 bits after the point), several times as fast. At first not.
void set_tf32(bool allowed);
bool tf32();

// ---- faults

/// A number for a text such as "take_along: an index must be in [-4, 4)", for kernels that find a bad value
/// (cuda/fault.cuh). The next waiting call throws IndexError: the text, and the value.
int fault_number(const std::string& text);

}  // namespace moegrad::cuda
