#include <cstdio>

#include "core/config.h"
#include "core/fwd.h"

int main() {
  const moegrad::i64 answer = 42;
  std::printf("moegrad %s, with%s CUDA, %lld\n", moegrad::kVersion, moegrad::kWithCuda ? "" : "out",
              static_cast<long long>(answer));
  return 0;
}
