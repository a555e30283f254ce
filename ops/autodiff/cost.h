// What a computation costs: FLOPs and bytes, counted from the shapes of the ops that run.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "core/observe.h"

namespace moegrad {

/// Sums over calls.
struct Cost {
  i64 calls = 0;
  double flops = 0;  ///< multiplications and additions
  double bytes = 0;  ///< read and written, if no cache helped
};

/// Counts every op of this thread while it lives, forward and backward.
///   CostLedger ledger;  backward(loss);  fmt::print("{}", ledger.table());
///   Counted   products: 2 per multiply-add, of grouped ones for every row.  Routes (gathers, scatters, one-hot
///             einsums): 2 per element that travels, 1 where there is no scale, 0 where it is only copied.
///             attention: both of its products, unmasked.  All else: 1 per element of its largest operand or result,
///             whatever the formula.  Views are free; copies and casts cost bytes alone
///   Fused     backward kernels: twice their forward (attention: 2.5 times, five products instead of two)
///   Bytes     of each operand once (an element that is repeated by a stride of 0 once), and of each result
class CostLedger : public Observer {
 public:
  const std::map<std::string, Cost>& by_op() const { return by_op_; }
  Cost total() const;
  /// One line per op, the costliest first, and the sum.
  std::string table() const;

  void ran(const Node& node, std::span<const Tensor> ys, std::span<const Tensor> inputs) override;
  void rule_begins(const Node& node, std::span<const Tensor> dys) override;  // noted: whether ops run within
  void rule_ended(const Node& node, std::span<const Tensor> dys, const SmallList<Tensor, 3>* dxs) override;

 private:
  std::map<std::string, Cost> by_op_;
  i64 ran_ = 0;                  // ops so far
  std::vector<i64> ran_before_;  // the same when each of the rules that run now began: checkpoints have rules within
};

}  // namespace moegrad
