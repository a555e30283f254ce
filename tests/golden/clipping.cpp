// Gradient clipping.
#include "tests/golden/run.h"

namespace moegrad::golden {

void run_clipping(Bundle&, const Case& c, Comparison&) { throw CaseError("unknown clipping '" + c.op + "'"); }

}  // namespace moegrad::golden
