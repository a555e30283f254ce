// From the names in the files to moegrad's ops. An adapter reads arguments and calls ops: it has no mathematics of its
// own beyond an obvious composition. A table holds the ops of one kind; `all_ops` joins them.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "ops/arithmetic.h"
#include "ops/sort.h"
#include "tests/golden/arguments.h"
#include "tests/golden/compare.h"

namespace moegrad::golden {

/// What an op gives: one tensor, or several in the order of the file's out.0, out.1, ..
struct Outputs : std::vector<Tensor> {
  Outputs(Tensor y) { push_back(std::move(y)); }
  Outputs(std::vector<Tensor> ys) : std::vector<Tensor>(std::move(ys)) {}
  Outputs(std::initializer_list<Tensor> ys) : std::vector<Tensor>(ys) {}
  Outputs(const Ordered& y) : std::vector<Tensor>{y.values, y.indices} {}
};
using Op = std::function<Outputs(Inputs& x, Arguments& args)>;
using Ops = std::map<std::string, Op>;

Ops elementwise_ops();  // elementwise.cpp: functions of one number, arithmetic with broadcasting, choices
Ops index_ops();        // index.cpp
Ops loss_ops();         // loss.cpp
Ops matmul_ops();       // matmul.cpp: products, einsum, convolution, attention
Ops norm_ops();         // norm.cpp: normalisation and softmax
Ops reduce_ops();       // reduce.cpp: reductions and scans
Ops shape_ops();        // shape.cpp
Ops pattern_ops();      // patterns.cpp: calls with a pattern; their names are used twice, so they are not in all_ops
Ops all_ops();          // Throws CaseError: two tables have one name

/// An op of one input and no arguments.
inline Op of_one(Tensor (*op)(const Tensor&)) {
  return [op](Inputs& x, Arguments&) { return op(x[0]); };
}
/// An op of two inputs and no arguments.
inline Op of_two(Tensor (*op)(const Tensor&, const Tensor&)) {
  return [op](Inputs& x, Arguments&) { return op(x[0], x[1]); };
}

}  // namespace moegrad::golden
