// Learning rates step by step.
#include "tests/golden/run.h"

namespace moegrad::golden {

void run_schedule(Bundle&, const Case& c, Comparison&) { throw CaseError("unknown schedule '" + c.op + "'"); }

}  // namespace moegrad::golden
