#include "ops/autodiff/cost.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "core/autograd.h"
#include "core/structure.h"

namespace moegrad {
namespace {

constexpr std::string_view kCopies[] = {"contiguous", "cast", "concat", "slice", "place", "pad", "reshape", "expand"};

bool copies(std::string_view op) { return std::find(std::begin(kCopies), std::end(kCopies), op) != std::end(kCopies); }

// Bytes of an operand or result: an axis of stride 0 repeats what is there.
double bytes_of(const Tensor& x) {
  if (!x || structure_of(x)) return 0;
  double n = static_cast<double>(byte_size(x.dtype()));
  for (int axis = 0; axis < x.rank(); ++axis)
    if (x.strides()[axis] != 0) n *= static_cast<double>(x.dim(axis));
  return n;
}

bool is_view(std::span<const Tensor> ys, std::span<const Tensor> inputs) {
  for (const Tensor& y : ys)
    for (const Tensor& x : inputs)
      if (x && y && y.body().storage && y.body().storage == x.body().storage) return true;
  return false;
}

// Of one op, by its name and shapes; an empty handle has the shape of a scalar.
double flops_of(const Node& node, const std::vector<Shape>& in, const Shape& y) {
  if (const double known = node.flops(); known >= 0) return known;
  const std::string_view op = node.name;
  const auto out = static_cast<double>(y.elements());
  if (op == "matmul" || op == "grouped_matmul") return 2 * out * static_cast<double>(in[0][in[0].rank() - 1]);
  if (op == "grouped_outer") return 2 * static_cast<double>(in[0].elements() * in[1][in[1].rank() - 1]);
  if (op == "attention")  // q [B, H, S, d], k [B, H, T, d], v [.., T, e]: q k^T and weights v
    return 2 * static_cast<double>(in[1][in[1].rank() - 2]) * (static_cast<double>(in[0].elements()) + out);
  if (copies(op)) return 0;
  double most = out;
  for (const Shape& x : in) most = std::max(most, static_cast<double>(x.elements()));
  return most;
}

}  // namespace

void CostLedger::ran(const Node& node, std::span<const Tensor> ys, std::span<const Tensor> inputs) {
  ++ran_;
  if (is_view(ys, inputs) || std::string_view(node.name) == "checkpoint") return;  // what runs in it was counted
  Cost& c = by_op_[node.name];
  ++c.calls;
  std::vector<Shape> shapes;
  for (const Tensor& x : inputs) shapes.push_back(x ? x.shape() : Shape{});
  c.flops += flops_of(node, shapes, ys.empty() || !ys[0] ? Shape{} : ys[0].shape());
  for (const Tensor& x : inputs) c.bytes += bytes_of(x);
  for (const Tensor& y : ys) c.bytes += bytes_of(y);
}

void CostLedger::rule_begins(const Node&, std::span<const Tensor>) { ran_before_.push_back(ran_); }

// A rule that ran no op and gave something new is the kernel of a fused op.
void CostLedger::rule_ended(const Node& node, std::span<const Tensor> dys, const SmallList<Tensor, 3>* dxs) {
  if (ran_before_.empty()) return;  // it began before this ledger
  const i64 before = ran_before_.back();
  ran_before_.pop_back();
  if (!dxs || ran_ != before) return;
  double bytes = 0;
  bool made = false;
  for (int i = 0; i < dxs->size(); ++i) {
    const Tensor& dx = (*dxs)[i];
    made = made || (dx && !is_view({&dx, 1}, dys));
    bytes += bytes_of(dx);
  }
  if (!made || node.is_leaf()) return;
  for (const Tensor& dy : dys) bytes += bytes_of(dy);
  Cost& c = by_op_[fmt::format("{} backward", node.name)];
  ++c.calls;
  std::vector<Shape> shapes;
  for (int i = 0; i < node.inputs.size(); ++i) {
    shapes.push_back(node.inputs[i].shape);
    if (node.inputs[i].given) bytes += static_cast<double>(shapes.back().elements() * byte_size(node.inputs[i].dtype));
  }
  c.flops += flops_of(node, shapes, dys.empty() || !dys[0] ? Shape{} : dys[0].shape()) *
             (std::string_view(node.name) == "attention" ? 2.5 : 2);
  c.bytes += bytes;
}

Cost CostLedger::total() const {
  Cost sum;
  for (const auto& [op, c] : by_op_) {
    sum.calls += c.calls;
    sum.flops += c.flops;
    sum.bytes += c.bytes;
  }
  return sum;
}

std::string CostLedger::table() const {
  std::vector<std::pair<std::string, Cost>> rows(by_op_.begin(), by_op_.end());
  std::stable_sort(rows.begin(), rows.end(),
                   [](const auto& a, const auto& b) { return a.second.flops > b.second.flops; });
  rows.emplace_back("all", total());
  std::size_t width = 2;
  for (const auto& [op, c] : rows) width = std::max(width, op.size());
  std::string text = fmt::format("{:<{}}  {:>8}  {:>12}  {:>12}\n", "op", width, "calls", "MFLOP", "MB");
  for (const auto& [op, c] : rows)
    text += fmt::format("{:<{}}  {:>8}  {:>12.3f}  {:>12.3f}\n", op, width, c.calls, c.flops / 1e6, c.bytes / 1e6);
  return text;
}

}  // namespace moegrad
