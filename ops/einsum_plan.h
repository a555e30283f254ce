// In which order einsum combines its operands, and what each step costs.
#pragma once
#include <string>
#include <vector>

#include "ops/einsum_parse.h"

namespace moegrad {

using LabelSet = u64;  // bit l: label l
inline LabelSet bit(int label) { return LabelSet{1} << label; }
inline LabelSet set_of(const InlineList<int>& labels) {
  LabelSet s = 0;
  for (int l : labels) s |= bit(l);
  return s;
}

/// What the planner knows of an operand or of an intermediate result.
struct PlanTerm {
  LabelSet labels = 0;
  bool structured = false;  // a one-hot table
  LabelSet classes = 0;     // which labels are class axes
  int class_axes = 0;       // hidden ones included
  double rows = 0;          // rows of the table, hidden ones included
};

/// One pairwise step. Operands keep their numbers; the product of a < b takes the number of `a`.
struct PlanStep {
  /// A matrix product; an elementwise one; values read, or added up, along routes; routes rescaled; two tables in one.
  enum class Kind { gemm, product, gather, scatter, scale, join };
  int a = 0, b = 0;
  Kind kind = Kind::gemm;
  LabelSet keep = 0;  // labels that the result or a later step still needs
  PlanTerm result;
  double flops = 0;
  double elements = 0;  // of the result, index entries of a table
};

/// Elements of a dense term with these labels, index entries of a structured one.
double elements_of(const Equation& equation, const PlanTerm& term);

/// The cheapest order by FLOPs and elements written: over all orders for up to six operands, greedily beyond. A
/// structured operand costs its routes. Two tables that fit into one of no more rows are joined first, greedily, and
/// where orders cost the same.
std::vector<PlanStep> plan_order(const Equation& equation, const std::vector<PlanTerm>& terms);

}  // namespace moegrad
