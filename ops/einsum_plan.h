// In which order einsum combines its operands, and what each step costs.
#pragma once
#include <string>
#include <vector>

#include "ops/einsum_parse.h"

namespace moegrad {

using LabelSet = u64;  // bit l: label l

/// What the planner knows of an operand or of an intermediate result.
struct PlanTerm {
  LabelSet labels = 0;
  bool structured = false;  // a one-hot table
  LabelSet classes = 0;     // which labels are class axes
  int class_axes = 0;       // hidden ones included
  double rows = 0;          // rows of the table, hidden ones included
};

/// One pairwise step: operands `a` < `b` of the current list are replaced by their product, which takes the place of
/// `a`.
struct PlanStep {
  enum class Kind { gemm, product, routes, join };
  int a = 0, b = 0;
  Kind kind = Kind::gemm;
  LabelSet keep = 0;  // labels that the result or a later step still needs
  PlanTerm result;
  double flops = 0;
  double elements = 0;  // of the result
};

struct Plan {
  std::vector<PlanStep> steps;
  double flops = 0;
};

/// The cheapest order by FLOPs and elements written: over all orders for up to six operands, greedily beyond. A
/// structured operand costs its routes, and two of them are joined into one table first where that is cheapest.
Plan make_plan(const Equation& equation, std::vector<PlanTerm> terms);

/// What the product of two terms is.
PlanStep plan_pair(const Equation& equation, const PlanTerm& a, const PlanTerm& b, LabelSet keep);

inline LabelSet bit(int label) { return LabelSet{1} << label; }

}  // namespace moegrad
