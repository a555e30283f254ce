// How einsum combines two operands: with ops that exist already.
#pragma once
#include "core/tensor.h"
#include "ops/einsum_plan.h"

namespace moegrad {

/// An operand and the label of each of its axes.
struct EinsumTerm {
  Tensor x;
  InlineList<int> labels;
  LabelSet set() const {
    LabelSet s = 0;
    for (int l : labels) s |= bit(l);
    return s;
  }
};

/// Sums away every axis that `keep` does not name. `value` is the dtype in which dense values are computed.
EinsumTerm sum_out(EinsumTerm t, LabelSet keep, DType value);
/// The product of two terms over the labels that `keep` names; other labels are summed.
EinsumTerm contract(EinsumTerm a, EinsumTerm b, LabelSet keep, DType value);

}  // namespace moegrad
