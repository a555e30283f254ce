// Notes for the table tests/ops/COVERAGE.md, which tests/coverage.py makes.
#pragma once
#include <set>
#include <string>

#include "core/tensor.h"

namespace moegrad::test {

/// What one check of an op has done.
struct Evidence {
  std::string op;
  std::set<std::string> dtypes = {};  ///< of the inputs, over all runs
  int order = 0;                      ///< highest order of a gradient that had elements to compare
  bool strided = false;               ///< an input had gaps between its elements
  bool broadcast = false;             ///< two inputs had different shapes
  bool empty = false;                 ///< an input had no elements
};

/// Appends a line to the file that the environment variable MOEGRAD_COVERAGE names, if it is set. With -s, so that
/// passing assertions are reported as well, the texts of expected errors are noted there, too.
void note(const Evidence& evidence);

}  // namespace moegrad::test
