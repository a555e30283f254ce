// Layers of soft-moe: a wrapper around any layer, and vision transformers made with it.
#include "tests/golden/layers.h"

namespace moegrad::golden {

Layers vision_layers() { return {}; }

}  // namespace moegrad::golden
