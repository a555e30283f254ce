#include "ops/einsum_plan.h"

#include <bit>
#include <limits>

#include "ops/routes.h"

namespace moegrad {
namespace {

double elements(const Equation& eq, LabelSet labels) {
  double n = 1;
  for (; labels; labels &= labels - 1) n *= static_cast<double>(eq.size[std::countr_zero(labels)]);
  return n;
}

double cost(const PlanStep& s) { return s.flops + (s.result.structured ? 0 : s.elements); }

PlanStep join(const Equation& eq, const PlanTerm& a, const PlanTerm& b, LabelSet keep) {
  PlanStep s{.kind = PlanStep::Kind::join};
  const LabelSet all = a.labels | b.labels;
  s.result = {.labels = all & keep,
              .structured = true,
              .classes = (a.classes | b.classes) & keep,
              .class_axes = a.class_axes + b.class_axes};
  s.result.rows = a.rows * b.rows / elements(eq, a.labels & b.labels);
  s.flops = s.result.rows;
  s.elements = elements(eq, s.result.labels);
  s.result.structured = s.result.classes != 0;
  return s;
}

PlanStep along_routes(const Equation& eq, const PlanTerm& hot, const PlanTerm& dense, LabelSet keep) {
  PlanStep s{.kind = PlanStep::Kind::routes};
  const LabelSet rows = hot.labels & ~hot.classes, varies = dense.labels & (keep | hot.labels);
  s.result.labels = (hot.labels | dense.labels) & keep;
  if ((varies & ~rows) == 0 && (hot.classes & ~keep) == 0)  // only rescales the routes
    s.result = {.labels = hot.labels & keep,
                .structured = true,
                .classes = hot.classes,
                .class_axes = hot.class_axes,
                .rows = hot.rows};
  s.flops = 2 * hot.rows * elements(eq, varies & ~hot.labels);
  s.elements = elements(eq, s.result.labels);
  return s;
}

LabelSet needed_later(const Equation& eq, const std::vector<PlanTerm>& terms, std::size_t a, std::size_t b) {
  LabelSet keep = 0;
  for (int l : eq.result) keep |= bit(l);
  for (std::size_t i = 0; i < terms.size(); ++i)
    if (i != a && i != b) keep |= terms[i].labels;
  return keep;
}

// Every order, depth first; `best` is the cheapest complete one so far.
struct Search {
  const Equation& eq;
  Plan best;
  double best_cost = std::numeric_limits<double>::infinity();
  std::vector<PlanStep> steps;

  void run(const std::vector<PlanTerm>& terms, double so_far) {
    if (so_far >= best_cost) return;
    if (terms.size() <= 1) {
      best_cost = so_far;
      best.steps = steps;
      return;
    }
    for (std::size_t a = 0; a < terms.size(); ++a)
      for (std::size_t b = a + 1; b < terms.size(); ++b) {
        PlanStep s = plan_pair(eq, terms[a], terms[b], needed_later(eq, terms, a, b));
        s.a = static_cast<int>(a), s.b = static_cast<int>(b);
        s.keep = needed_later(eq, terms, a, b);
        std::vector<PlanTerm> rest = terms;
        rest[a] = s.result;
        rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(b));
        steps.push_back(s);
        run(rest, so_far + cost(s));
        steps.pop_back();
      }
  }
};

Plan greedy(const Equation& eq, std::vector<PlanTerm> terms) {
  Plan plan;
  while (terms.size() > 1) {
    PlanStep best;
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t a = 0; a < terms.size(); ++a)
      for (std::size_t b = a + 1; b < terms.size(); ++b) {
        PlanStep s = plan_pair(eq, terms[a], terms[b], needed_later(eq, terms, a, b));
        s.a = static_cast<int>(a), s.b = static_cast<int>(b);
        s.keep = needed_later(eq, terms, a, b);
        if (cost(s) < least) least = cost(s), best = s;
      }
    terms[static_cast<std::size_t>(best.a)] = best.result;
    terms.erase(terms.begin() + best.b);
    plan.steps.push_back(best);
  }
  return plan;
}

}  // namespace

PlanStep plan_pair(const Equation& eq, const PlanTerm& a, const PlanTerm& b, LabelSet keep) {
  if (a.structured && b.structured) {
    const LabelSet shared = a.labels & b.labels;
    if ((shared & (a.classes | b.classes)) == 0 && a.class_axes + b.class_axes <= kMaxClassAxes)
      return join(eq, a, b, keep);
    return elements(eq, a.labels) >= elements(eq, b.labels)
               ? along_routes(eq, a, b, keep)
               : along_routes(eq, b, a, keep);  // the smaller one is made dense
  }
  if (a.structured) return along_routes(eq, a, b, keep);
  if (b.structured) return along_routes(eq, b, a, keep);
  PlanStep s;
  const LabelSet varies_a = a.labels & (keep | b.labels), varies_b = b.labels & (keep | a.labels);
  s.result.labels = (a.labels | b.labels) & keep;
  s.kind = (varies_a & varies_b & ~keep) == 0 ? PlanStep::Kind::product : PlanStep::Kind::gemm;
  s.flops = (s.kind == PlanStep::Kind::gemm ? 2 : 1) * elements(eq, varies_a | varies_b);
  s.elements = elements(eq, s.result.labels);
  return s;
}

Plan make_plan(const Equation& eq, std::vector<PlanTerm> terms) {
  constexpr std::size_t kOptimalUpTo = 6;
  Plan plan;
  if (terms.size() <= kOptimalUpTo) {
    Search search{.eq = eq, .best = {}, .steps = {}};
    search.run(terms, 0);
    plan = std::move(search.best);
  } else {
    plan = greedy(eq, std::move(terms));
  }
  for (PlanStep& s : plan.steps) plan.flops += s.flops;
  return plan;
}

}  // namespace moegrad
