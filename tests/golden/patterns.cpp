// Calls with a pattern: rearrange, reduce, repeat, pack, unpack.
#include "tests/golden/adapters.h"

namespace moegrad::golden {

Ops pattern_ops() { return {}; }

}  // namespace moegrad::golden
