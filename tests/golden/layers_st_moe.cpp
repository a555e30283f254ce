// Layers of st-moe-pytorch.
#include "tests/golden/layers.h"

namespace moegrad::golden {

Layers st_moe_layers() { return {}; }

}  // namespace moegrad::golden
