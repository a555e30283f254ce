// Layers of moefy.
#include "tests/golden/layers.h"

namespace moegrad::golden {

Layers moefy_layers() { return {}; }

}  // namespace moegrad::golden
