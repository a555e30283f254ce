#include "ops/einsum.h"

#include <fmt/format.h>

#include <bit>

#include "core/small_list.h"
#include "ops/cast.h"
#include "ops/diagonal.h"
#include "ops/einsum_lower.h"
#include "ops/one_hot.h"
#include "ops/plan_cache.h"
#include "ops/reduce.h"
#include "ops/views.h"

namespace moegrad {
namespace {

// ---- what is worked out once

// A step that makes an operand fit: no label twice, and no axis of size 1 where its letter is longer.
struct View {
  enum class Kind { squeeze, expand, diagonal };
  Kind kind;
  int a = 0, b = 0;  // axes
  Shape shape = {};  // of an expansion
};
struct Operand {
  InlineList<int> labels;  // after the views
  SmallList<View, 2> views;
  bool structured = false;  // after the views: a diagonal is of dense values
};

struct EinsumPlan {
  Equation equation;
  DType value{};  // in which values are multiplied
  std::vector<Operand> operands;
  std::vector<PlanTerm> terms;
  std::vector<PlanStep> order;
  bool structured = false;       // some operand is: steps are lowered when they run
  std::vector<DenseStep> steps;  // else they are lowered already,
  Axes sum, permutation;         // as is what is left to do with the last term
  InlineList<int> labels;        // of that term
};

// The dtype in which values are multiplied: that of the floating operands, or i64 where there are none.
DType value_dtype(std::string_view text, std::span<const Tensor> operands) {
  const Tensor* first = nullptr;
  bool integers = false;
  for (const Tensor& x : operands) {
    check_same_device("einsum", operands[0], x);
    const OneHot* hot = one_hot_of(x);
    if (hot && !hot->scale()) continue;
    integers |= is_int(x.dtype());
    if (!is_float(x.dtype())) continue;
    if (first && first->dtype() != x.dtype())
      throw DTypeError(fmt::format("einsum \"{}\": floating operands must have one dtype; got {} and {}", text,
                                   describe(*first), describe(x)));
    if (!first) first = &x;
  }
  if (first && integers)
    throw DTypeError(fmt::format("einsum \"{}\": integers must be cast before they meet {}", text, describe(*first)));
  return first ? first->dtype() : DType::i64;
}

// The views of operand i, and its layout behind them.
Operand fit_operand(const Equation& eq, std::size_t i, const Tensor& x, TermLayout& layout) {
  Operand y{.labels = eq.operands[i], .views = {}, .structured = one_hot_of(x) != nullptr};
  Shape shape = x.shape();
  Strides strides = x.strides();
  const auto drop = [&](int axis) { y.labels.erase(axis), shape.erase(axis), strides.erase(axis); };
  for (int a = 0; a < y.labels.size(); ++a)
    for (int b = y.labels.size() - 1; b > a; --b) {
      if (y.labels[b] != y.labels[a]) continue;
      y.structured = false;
      if (shape[a] == 1 && shape[b] != 1) {
        shape[a] = shape[b], strides[a] = 0;
        y.views.push_back({View::Kind::expand, a, b, shape});
      }
      if (shape[b] == 1 && shape[a] != 1) {
        y.views.push_back({View::Kind::squeeze, b});
      } else {
        y.views.push_back({View::Kind::diagonal, a, b});
        strides[a] += strides[b];
      }
      drop(b);
    }
  for (int a = y.labels.size() - 1; a >= 0; --a) {
    if (shape[a] != 1 || eq.size[y.labels[a]] == 1) continue;
    y.views.push_back({View::Kind::squeeze, a});
    drop(a);
  }
  layout = {y.labels, shape, strides};
  return y;
}

PlanTerm plan_term(const Operand& operand, const Tensor& x, const Equation& eq, std::size_t i) {
  PlanTerm p{.labels = set_of(operand.labels)};
  if (!operand.structured) return p;
  const OneHot& hot = *one_hot_of(x);
  p.structured = true;
  p.class_axes = hot.routes()->classes().rank();
  p.rows = static_cast<double>(hot.routes()->rows().elements());
  for (int k = 0; k < x.rank(); ++k)
    if (hot.axes()[k] < 0) p.classes |= bit(eq.operands[i][k]) & p.labels;
  return p;
}

// Lowers every step of an equation of dense operands, and what remains to be done with their product.
void lower(EinsumPlan& plan, std::vector<TermLayout> layouts) {
  for (std::size_t k = 0; k < plan.order.size(); ++k) {
    const PlanStep& s = plan.order[k];
    TermLayout& a = layouts[static_cast<std::size_t>(s.a)];
    const bool last = k + 1 == plan.order.size();
    plan.steps.push_back(lower_dense(a, layouts[static_cast<std::size_t>(s.b)], s.keep,
                                     last ? plan.equation.result : InlineList<int>{}));
    a = plan.steps.back().result;
  }
  const InlineList<int>& result = plan.equation.result;
  for (int i = 0; i < layouts[0].labels.size(); ++i) {
    if (result.contains(layouts[0].labels[i]))
      plan.labels.push_back(layouts[0].labels[i]);
    else
      plan.sum.push_back(i);
  }
  if (plan.labels != result)
    for (int l : result) plan.permutation.push_back(plan.labels.find(l));
}

EinsumPlan make_plan(std::string_view text, std::span<const Tensor> operands) {
  EinsumPlan plan;
  std::vector<Shape> shapes;
  for (const Tensor& x : operands) shapes.push_back(x.shape());
  plan.equation = Equation::parse(text, shapes);
  plan.value = value_dtype(text, operands);
  std::vector<TermLayout> layouts(operands.size());
  for (std::size_t i = 0; i < operands.size(); ++i) {
    plan.operands.push_back(fit_operand(plan.equation, i, operands[i], layouts[i]));
    plan.terms.push_back(plan_term(plan.operands[i], operands[i], plan.equation, i));
    plan.structured |= plan.operands[i].structured;
  }
  plan.order = plan_order(plan.equation, plan.terms);
  if (!plan.structured) lower(plan, std::move(layouts));
  return plan;
}

PlanCache<EinsumPlan>& plans() {
  thread_local PlanCache<EinsumPlan> cache;
  return cache;
}

std::shared_ptr<const EinsumPlan> plan_of(std::string_view text, std::span<const Tensor> operands) {
  PlanKey key;
  key.text(text).number(static_cast<i64>(operands.size()));
  for (const Tensor& x : operands) {
    const OneHot* hot = one_hot_of(x);
    const int form = !hot ? 0 : hot->scale() ? 2 : 1;
    key.number(static_cast<i64>(x.dtype()) | static_cast<i64>(x.device()) << 8 | form << 16);
    key.list(x.shape());
    if (hot)
      key.list(hot->axes()).list(hot->routes()->rows()).list(hot->routes()->classes());
    else
      key.list(x.strides());
  }
  return plans().get(key, [&] { return make_plan(text, operands); });
}

// ---- what is done at every call

Tensor fitted(const Operand& operand, const Tensor& x, DType value) {
  if (operand.structured) {
    Tensor y = x;
    for (int i = 0; i < operand.views.size(); ++i) y = squeeze(y, operand.views[i].a);
    return one_hot_of(y) ? y : cast(y, value);  // a class axis that broadcasts makes it dense
  }
  Tensor y = one_hot_of(x) ? dense(cast(x, value)) : x;
  if (y.dtype() != value) y = cast(y, value);
  for (int i = 0; i < operand.views.size(); ++i) {
    const View& v = operand.views[i];
    y = v.kind == View::Kind::squeeze  ? squeeze(y, v.a)
        : v.kind == View::Kind::expand ? expand(y, v.shape)
                                       : diagonal(y, v.a, v.b);
  }
  return y;
}

Tensor run_dense(const EinsumPlan& plan, std::span<const Tensor> operands) {
  SmallList<Tensor, 4> terms;
  for (std::size_t i = 0; i < operands.size(); ++i) terms.push_back(fitted(plan.operands[i], operands[i], plan.value));
  for (std::size_t k = 0; k < plan.steps.size(); ++k) {
    const PlanStep& s = plan.order[k];
    terms[s.a] = run(plan.steps[k], terms[s.a], terms[s.b]);
    terms[s.b] = {};
  }
  const Tensor y = plan.sum.empty() ? terms[0] : sum(terms[0], plan.sum);
  return plan.permutation.empty() ? y : permute(y, plan.permutation);
}

Tensor run_structured(const EinsumPlan& plan, std::span<const Tensor> operands) {
  std::vector<EinsumTerm> terms;
  for (std::size_t i = 0; i < operands.size(); ++i)
    terms.push_back({fitted(plan.operands[i], operands[i], plan.value), plan.operands[i].labels});
  for (const PlanStep& s : plan.order) {
    EinsumTerm &a = terms[static_cast<std::size_t>(s.a)], &b = terms[static_cast<std::size_t>(s.b)];
    a = contract(std::move(a), std::exchange(b, {}), s.keep, plan.value);
  }
  const EinsumTerm t = sum_out(terms[0], set_of(plan.equation.result), plan.value);
  Axes order;
  for (int l : plan.equation.result) order.push_back(t.labels.find(l));
  return permute(t.x, order);
}

}  // namespace

Tensor einsum(std::string_view text, std::span<const Tensor> operands) {
  const auto plan = plan_of(text, operands);
  return plan->structured ? run_structured(*plan, operands) : run_dense(*plan, operands);
}

i64 einsum_plans_made() { return plans().made(); }

// ---- the plan, for people

namespace {

std::string letters(const InlineList<int>& labels) {
  std::string s;
  for (int l : labels) s += l < 52 ? label_name(l).substr(1, 1) : fmt::format("[{}]", l - 64);
  return s;
}
std::string letters(LabelSet set) {
  std::string s;
  for (int l = 0; l < 64; ++l)
    if (set & bit(l)) s += letters(InlineList<int>{l});
  return s;
}
const char* name_of(PlanStep::Kind kind) {
  switch (kind) {
    case PlanStep::Kind::gemm: return "gemm";
    case PlanStep::Kind::product: return "product";
    case PlanStep::Kind::gather: return "gather";
    case PlanStep::Kind::scatter: return "scatter";
    case PlanStep::Kind::scale: return "scale";
    case PlanStep::Kind::join: break;
  }
  return "join";
}

// Collects steps and their totals.
class PathWriter {
 public:
  explicit PathWriter(const EinsumPlan& plan) : plan_(plan), terms_(plan.terms) {}

  EinsumPath run() {
    for (std::size_t i = 0; i < terms_.size(); ++i) diagonal(i);
    for (const PlanStep& s : plan_.order) pair(s);
    finish();
    return std::move(path_);
  }

 private:
  void diagonal(std::size_t i) {
    const InlineList<int>& written = plan_.equation.operands[i];
    if (set_of(written) == 0 || written.size() == std::popcount(set_of(written))) return;
    add({.a = static_cast<int>(i),
         .equation = letters(written) + "->" + letters(plan_.operands[i].labels),
         .kind = "diagonal",
         .elements = elements(terms_[i])});
  }
  void pair(const PlanStep& s) {
    PlanTerm &a = terms_[static_cast<std::size_t>(s.a)], &b = terms_[static_cast<std::size_t>(s.b)];
    add({.a = s.a,
         .b = s.b,
         .equation = fmt::format("{},{}->{}", letters(a.labels), letters(b.labels), letters(s.result.labels)),
         .kind = name_of(s.kind),
         .flops = s.flops,
         .bytes = bytes(elements_of(plan_.equation, a) + elements_of(plan_.equation, b) +
                        elements_of(plan_.equation, s.result)),
         .elements = elements(s.result)});
    a = s.result;
  }
  // What the result still needs: letters summed, axes in order.
  void finish() {
    const LabelSet result = set_of(plan_.equation.result);
    PlanTerm t = terms_[0];
    if ((t.labels & ~result) != 0) {
      const std::string before = letters(t.labels);
      const i64 read = elements(t);
      t.labels &= result;
      t.classes &= result;
      t.structured &= t.classes != 0;
      add({.equation = before + "->" + letters(t.labels),
           .kind = "sum",
           .flops = static_cast<double>(read),
           .bytes = bytes(static_cast<double>(read) + elements_of(plan_.equation, t)),
           .elements = elements(t)});
    }
    if (plan_.permutation.empty()) return;  // so it is where routes were followed: they lead to any order
    add({.equation = letters(plan_.labels) + "->" + letters(plan_.equation.result),
         .kind = "permute",
         .elements = elements(t)});
  }

  void add(EinsumStep step) {
    path_.flops += step.flops;
    path_.bytes += step.bytes;
    path_.largest = std::max(path_.largest, step.elements);
    path_.steps.push_back(std::move(step));
  }
  i64 elements(const PlanTerm& t) const { return static_cast<i64>(std::min(elements_of(plan_.equation, t), 0x1p62)); }
  double bytes(double count) const { return static_cast<double>(byte_size(plan_.value)) * count; }

  const EinsumPlan& plan_;
  std::vector<PlanTerm> terms_;
  EinsumPath path_;
};

}  // namespace

EinsumPath einsum_path(std::string_view text, std::span<const Tensor> operands) {
  return PathWriter(*plan_of(text, operands)).run();
}

std::string EinsumPath::text() const {
  std::string s;
  for (const EinsumStep& e : steps)
    s += fmt::format("{:<8} {:<24} {:<8} {:>12.4g} FLOP {:>12.4g} B {:>12} elements\n",
                     e.b < 0 ? fmt::format("{}", e.a) : fmt::format("{}, {}", e.a, e.b), e.equation, e.kind, e.flops,
                     e.bytes, e.elements);
  return s + fmt::format("total {:.4g} FLOP, {:.4g} B, largest result {} elements\n", flops, bytes, largest);
}

}  // namespace moegrad
