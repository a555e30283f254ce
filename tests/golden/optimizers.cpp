// Optimizers: ten steps on one small problem.
#include "tests/golden/run.h"

namespace moegrad::golden {

void run_optimizer(Bundle&, const Case& c, Comparison&) { throw CaseError("unknown optimizer '" + c.op + "'"); }

}  // namespace moegrad::golden
