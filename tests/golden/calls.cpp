// A case that calls one op: its outputs and the gradients of L = sum over diff_out of sum(out * cotangent).
#include <fmt/format.h>

#include "core/autograd.h"
#include "ops/arithmetic.h"
#include "ops/reduce.h"
#include "tests/golden/run.h"

namespace moegrad::golden {
namespace {

std::string name_of(const Case& c, const char* part, std::size_t i) { return fmt::format("{}.{}.{}", c.name, part, i); }

// How many of <name>.<part>.0, .1, .. there are; `key` of the entry must say the same, if it is there.
std::size_t count(const Bundle& bundle, const Case& c, const char* part, const char* key) {
  std::size_t n = 0;
  while (bundle.has(name_of(c, part, n))) ++n;
  if (c.entry.contains(key) && c.entry[key] != n)
    throw CaseError(fmt::format("{} is {}, but the file has {} of '{}'", key, c.entry[key].dump(), n, part));
  return n;
}

// The numbers that `key` of the entry lists, or those of the tensors <name>.<part>.<number>.
std::vector<std::size_t> listed(const Bundle& bundle, const Case& c, const char* key, const char* part,
                                std::size_t count) {
  if (c.entry.contains(key)) return c.entry[key].get<std::vector<std::size_t>>();
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < count; ++i)
    if (bundle.has(name_of(c, part, i))) found.push_back(i);
  return found;
}

const Op& find(const Ops& ops, const std::string& name) {
  const auto at = ops.find(name);
  if (at == ops.end()) throw CaseError(fmt::format("unknown op '{}'", name));
  return at->second;
}

Outputs call(const Op& op, const std::vector<Tensor>& in, const Case& c, DType dtype) {
  Inputs x(in);
  Arguments args(c.args, dtype);
  // `shapes` of a call without a pattern repeats the shapes of its operands.
  if (args.has("shapes") && !args.has("pattern")) {
    const std::vector<Shape> shapes = args.shapes("shapes");
    const auto alike = [](const Shape& s, const Tensor& t) { return s == t.shape(); };
    if (!std::equal(shapes.begin(), shapes.end(), in.begin(), in.end(), alike))
      throw CaseError("the argument 'shapes' is not what the inputs have");
  }
  Outputs y = op(x, args);
  x.check_all_read();
  args.check_all_read();
  return y;
}

}  // namespace

void run_call(Bundle& bundle, const Case& c, const Ops& ops, Comparison& comparison) {
  const Op& op = find(ops, c.op);
  const std::size_t n_in = count(bundle, c, "in", "n_in"), n_out = count(bundle, c, "out", "n_out");
  std::vector<Tensor> in, leaves;
  for (std::size_t i = 0; i < n_in; ++i) in.push_back(bundle.take(name_of(c, "in", i)));
  const auto diff_in = listed(bundle, c, "diff_in", "grad", n_in);
  const auto diff_out = listed(bundle, c, "diff_out", "cotangent", n_out);
  for (const std::size_t i : diff_in) leaves.push_back(in.at(i).requires_grad_());

  const Outputs y = call(op, in, c, bundle.dtype());
  if (y.size() != n_out) return comparison.fail(fmt::format("{} outputs, expected {}", y.size(), n_out));
  for (std::size_t j = 0; j < n_out; ++j)
    comparison.check(fmt::format("out.{}", j), y[j], bundle.take(name_of(c, "out", j)));
  if (!comparison.passed()) return;

  Tensor loss = zeros({}, bundle.dtype());
  for (const std::size_t j : diff_out) loss = loss + sum(y.at(j) * bundle.take(name_of(c, "cotangent", j)));
  std::vector<Tensor> grads;  // where no path leads to the loss, as for sign(x), the gradient is 0
  if (loss.requires_grad()) grads = grad(loss, leaves);
  for (std::size_t i = 0; i < leaves.size(); ++i)
    comparison.check(fmt::format("grad.{}", diff_in[i]), grads.empty() ? zeros_like(leaves[i]) : grads[i],
                     bundle.take(name_of(c, "grad", diff_in[i])));
}

void run_refused(const Json& refused, const Ops& ops) {
  Case c{"", refused.at("op"), refused, refused};
  const std::vector<i64> sizes = refused.at("shape");
  c.args.erase("op");
  c.args.erase("shape");
  const Op& op = find(ops, c.op);
  try {
    call(op, {zeros(Shape(sizes.begin(), sizes.end()), DType::f64)}, c, DType::f64);
  } catch (const InternalError&) {
    throw;
  } catch (const Error&) {
    return;
  }
  throw CaseError(fmt::format("it must be refused, and is not: {}", refused.dump()));
}

Ops all_ops() {
  Ops all;
  for (Ops& table : std::vector<Ops>{elementwise_ops(), index_ops(), loss_ops(), matmul_ops(), norm_ops(), reduce_ops(),
                                     shape_ops()}) {
    all.merge(table);
    if (!table.empty()) throw CaseError(fmt::format("two adapters for '{}'", table.begin()->first));
  }
  return all;
}

}  // namespace moegrad::golden
