#include "ops/einsum.h"

#include <fmt/format.h>

#include "ops/cast.h"
#include "ops/diagonal.h"
#include "ops/einsum_lower.h"
#include "ops/one_hot.h"
#include "ops/reduce.h"
#include "ops/views.h"

namespace moegrad {
namespace {

Equation parse(std::string_view text, std::span<const Tensor> operands) {
  std::vector<Shape> shapes;
  for (const Tensor& x : operands) shapes.push_back(x.shape());
  return Equation::parse(text, shapes);
}

// The dtype in which values are multiplied: that of the floating operands, or f64 where there are only integers and
// bools.
DType value_dtype(std::string_view text, std::span<const Tensor> operands) {
  const Tensor* first = nullptr;
  bool integers = false;
  for (const Tensor& x : operands) {
    const OneHot* hot = one_hot_of(x);
    if (hot && !hot->scale()) continue;
    integers |= is_int(x.dtype());
    if (!is_float(x.dtype())) continue;
    if (first && first->dtype() != x.dtype())
      throw DTypeError(fmt::format("einsum \"{}\": floating operands must have one dtype; got {} and {}", text,
                                   describe(*first), describe(x)));
    if (!first) first = &x;
    if (first->device() != x.device()) check_same_device("einsum", *first, x);
  }
  if (first && integers)
    throw DTypeError(fmt::format("einsum \"{}\": integers must be cast before they meet {}", text, describe(*first)));
  return first ? first->dtype() : DType::f64;
}

// One operand as a term: no label twice, and no axis of size 1 where its letter is longer.
EinsumTerm make_term(const Equation& eq, std::size_t i, const Tensor& x, DType value) {
  const OneHot* hot = one_hot_of(x);
  EinsumTerm t{hot ? x : cast(x, value), eq.operands[i]};
  for (int a = 0; a < t.labels.size(); ++a) {
    for (int b = t.labels.size() - 1; b > a; --b) {
      if (t.labels[b] != t.labels[a]) continue;
      if (one_hot_of(t.x)) t.x = dense(cast(t.x, value));
      if (t.x.dim(a) == 1 && t.x.dim(b) != 1)
        t.x = expand(t.x, [&] {
          Shape s = t.x.shape();
          s[a] = t.x.dim(b);
          return s;
        }());
      if (t.x.dim(b) == 1 && t.x.dim(a) != 1)
        t.x = squeeze(t.x, b);
      else
        t.x = diagonal(t.x, a, b);
      t.labels.erase(b);
    }
  }
  for (int a = t.labels.size() - 1; a >= 0; --a) {
    if (t.x.dim(a) != 1 || eq.size[t.labels[a]] == 1) continue;
    t.x = squeeze(t.x, a);
    t.labels.erase(a);
  }
  return t;
}

PlanTerm plan_term(const EinsumTerm& t) {
  PlanTerm p{.labels = t.set()};
  const OneHot* hot = one_hot_of(t.x);
  if (!hot) return p;
  p.structured = true;
  p.class_axes = hot->routes()->classes().rank();
  p.rows = static_cast<double>(hot->routes()->rows().elements());
  for (int i = 0; i < t.labels.size(); ++i)
    if (hot->axes()[i] < 0) p.classes |= bit(t.labels[i]);
  return p;
}

struct Prepared {
  Equation equation;
  std::vector<EinsumTerm> terms;
  Plan plan;
  DType value;
};
Prepared prepare(std::string_view text, std::span<const Tensor> operands) {
  Prepared p{.equation = parse(text, operands), .terms = {}, .plan = {}, .value = value_dtype(text, operands)};
  std::vector<PlanTerm> abstract;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    p.terms.push_back(make_term(p.equation, i, operands[i], p.value));
    abstract.push_back(plan_term(p.terms.back()));
  }
  p.plan = make_plan(p.equation, std::move(abstract));
  return p;
}

// A result letter that only size-1 axes have keeps them; others are in the term by now.
Tensor finish(const Equation& eq, const EinsumTerm& t) {
  Axes order;
  for (int l : eq.result) order.push_back(t.labels.find(l));
  return permute(t.x, order);
}

}  // namespace

Tensor einsum(std::string_view text, std::span<const Tensor> operands) {
  Prepared p = prepare(text, operands);
  for (const PlanStep& s : p.plan.steps) {
    EinsumTerm& a = p.terms[static_cast<std::size_t>(s.a)];
    a = contract(a, p.terms[static_cast<std::size_t>(s.b)], s.keep, p.value);
    p.terms.erase(p.terms.begin() + s.b);
  }
  LabelSet result = 0;
  for (int l : p.equation.result) result |= bit(l);
  const Tensor y = finish(p.equation, sum_out(p.terms[0], result, p.value));
  bool integers = !one_hot_of(y);
  for (const Tensor& x : operands) integers &= !is_float(x.dtype());
  return integers ? cast(y, DType::i64) : y;
}

// ---- the plan, for people

namespace {

std::string letters(LabelSet labels) {
  std::string s;
  for (int l = 0; l < 64; ++l)
    if (labels & bit(l)) s += l < 52 ? label_name(l).substr(1, 1) : fmt::format("[{}]", l - 64);
  return s;
}
double elements_of(const Equation& eq, const PlanTerm& t) {
  if (t.structured) return t.rows * t.class_axes;
  double n = 1;
  for (int l = 0; l < 64; ++l)
    if (t.labels & bit(l)) n *= static_cast<double>(eq.size[l]);
  return n;
}
const char* kind_of(const PlanStep& s, const PlanTerm& a, const PlanTerm& b) {
  switch (s.kind) {
    case PlanStep::Kind::gemm: return "gemm";
    case PlanStep::Kind::product: return "product";
    case PlanStep::Kind::join: return "join";
    case PlanStep::Kind::routes: break;
  }
  const LabelSet classes = a.structured ? a.classes : b.classes;
  return (s.result.labels & classes) != 0 ? "scatter" : "gather";
}

}  // namespace

EinsumPath einsum_path(std::string_view text, std::span<const Tensor> operands) {
  const Prepared p = prepare(text, operands);
  EinsumPath path;
  std::vector<PlanTerm> terms;
  for (const EinsumTerm& t : p.terms) terms.push_back(plan_term(t));
  for (const PlanStep& s : p.plan.steps) {
    const PlanTerm &a = terms[static_cast<std::size_t>(s.a)], &b = terms[static_cast<std::size_t>(s.b)];
    const double result = elements_of(p.equation, s.result);
    path.steps.push_back(
        {.equation = fmt::format("{},{}->{}", letters(a.labels), letters(b.labels), letters(s.result.labels)),
         .kind = kind_of(s, a, b),
         .flops = s.flops,
         .bytes = static_cast<double>(byte_size(p.value)) *
                  (elements_of(p.equation, a) + elements_of(p.equation, b) + result),
         .elements = static_cast<i64>(result)});
    path.flops += s.flops;
    path.bytes += path.steps.back().bytes;
    path.largest = std::max(path.largest, path.steps.back().elements);
    terms[static_cast<std::size_t>(s.a)] = s.result;
    terms.erase(terms.begin() + s.b);
  }
  return path;
}

std::string EinsumPath::text() const {
  std::string s;
  for (const EinsumStep& e : steps)
    s += fmt::format("{:<24} {:<8} {:>12.4g} FLOP {:>12.4g} B {:>12} elements\n", e.equation, e.kind, e.flops, e.bytes,
                     e.elements);
  return s + fmt::format("total {:.4g} FLOP, {:.4g} B, largest result {} elements\n", flops, bytes, largest);
}

}  // namespace moegrad
