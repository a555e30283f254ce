// How einsum combines two operands: with ops that exist already.
#pragma once
#include "core/tensor.h"
#include "ops/einsum_plan.h"

namespace moegrad {

/// A dense term as far as it is known before it is computed: the label, size and stride of each axis.
struct TermLayout {
  InlineList<int> labels;
  Shape shape;
  Strides strides;
};

/// reshape(permute(x, order), shape)
struct Arrangement {
  Axes order;
  Shape shape;
  bool moves = false, reshapes = false;
  Tensor operator()(const Tensor& x) const;
};

/// The product of two dense terms, worked out for their layouts: a batched matrix product, or an elementwise one.
struct DenseStep {
  // of the left factor a and the right factor b:
  Axes sum_a, sum_b;  // axes that only one of them has and nothing needs later, summed first
  Arrangement a, b;   // as the product reads them
  bool gemm = true;
  bool swapped = false;   // the second term is the left factor, so that the result lies as it is wanted
  bool reshapes = false;  // the result of the matrix product to `result.shape`
  TermLayout result;
};
/// Axes are summed unless `keep` names them. `wanted`: the order of labels in which the result should lie, if known.
DenseStep lower_dense(TermLayout a, TermLayout b, LabelSet keep, const InlineList<int>& wanted = {});
Tensor run(const DenseStep& step, const Tensor& a, const Tensor& b);

/// An operand and the label of each of its axes.
struct EinsumTerm {
  Tensor x;
  InlineList<int> labels;
  LabelSet set() const { return set_of(labels); }
};

/// Sums away every axis that `keep` does not name. `value` is the dtype in which dense values are computed.
EinsumTerm sum_out(EinsumTerm t, LabelSet keep, DType value);
/// The product of two terms, of which one may be a structured one-hot; labels that `keep` does not name are summed.
EinsumTerm contract(EinsumTerm a, EinsumTerm b, LabelSet keep, DType value);

}  // namespace moegrad
