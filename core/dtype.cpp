#include "core/dtype.h"

#include <fmt/format.h>

namespace moegrad {

void throw_dtype(const char* op, const char* wanted, DType got) {
  throw DTypeError(fmt::format("{}: x must be {}; got {}", op, wanted, name(got)));
}

}  // namespace moegrad
