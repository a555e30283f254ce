#include "ops/indices.h"

#include <fmt/format.h>

#include "core/cuda.h"
#include "ops/cast.h"

namespace moegrad::detail {
namespace {

std::string rule(const char* op, const IndexRange& r) {
  return fmt::format("{}: values must be in [{}, {})", op, r.low, r.high);
}

}  // namespace

Tensor checked_index(const char* op, const Tensor& index_any, const IndexRange& r) {
  const Tensor index = contiguous(cast(index_any, DType::i64));
  if constexpr (kWithCuda) {
    if (index.device() == Device::cuda) {
      const Tensor y = empty(index.shape(), DType::i64, index.device());
      cuda::check_index(index.data<i64>(), y.data<i64>(), y.size(), r, cuda::fault_number(rule(op, r)));
      return y;
    }
  }
  const i64* v = index.data<i64>();
  for (i64 i = 0; i < index.size(); ++i)
    if (v[i] < r.low || v[i] >= r.high)
      throw IndexError(
          fmt::format("{}; got {} at element {} of {} {}", rule(op, r), v[i], i, r.what, to_string(index.shape())));
  if (!r.wraps) return index;
  const Tensor y = empty(index.shape(), DType::i64, index.device());
  for (i64 i = 0; i < index.size(); ++i) y.data<i64>()[i] = v[i] < 0 ? v[i] + r.high : v[i];
  return y;
}

void reads_values(const char* op, Device device) {
  if constexpr (kWithCuda)
    if (device == Device::cuda) cuda::synchronising(op);
}

}  // namespace moegrad::detail
