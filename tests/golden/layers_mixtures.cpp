// Layers of pytorch-mixtures, both versions, and the expert-choice notebook.
#include "tests/golden/layers.h"

namespace moegrad::golden {

Layers mixtures_layers() { return {}; }

}  // namespace moegrad::golden
