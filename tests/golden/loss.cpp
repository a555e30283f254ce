// Losses.
#include "tests/golden/adapters.h"

namespace moegrad::golden {

Ops loss_ops() { return {}; }

}  // namespace moegrad::golden
