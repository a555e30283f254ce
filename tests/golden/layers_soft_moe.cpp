// Layers of soft-moe-pytorch.
#include "tests/golden/layers.h"

namespace moegrad::golden {

Layers soft_moe_layers() { return {}; }

}  // namespace moegrad::golden
