#include "core/graph.h"

#include "core/device.h"

namespace moegrad {

Graph Graph::capture(const std::function<void()>& step) {
  check_device("graph", Device::cuda);
  if constexpr (kWithCuda)
    return Graph(cuda::capture(step));
  else
    return Graph(nullptr);  // check_device has thrown
}

void Graph::replay() const {
  if constexpr (kWithCuda) cuda::replay(*captured_);
}

i64 Graph::nodes() const {
  if constexpr (kWithCuda)
    return cuda::nodes(*captured_);
  else
    return 0;
}

}  // namespace moegrad
