#include "ops/einsum_plan.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>

#include "ops/routes.h"

namespace moegrad {
namespace {

constexpr double kImpossible = std::numeric_limits<double>::infinity();

double elements(const Equation& eq, LabelSet labels) {
  double n = 1;
  for (; labels; labels &= labels - 1) n *= static_cast<double>(eq.size[std::countr_zero(labels)]);
  return n;
}

// What decides between orders.
double cost(const PlanStep& s) {
  if (std::popcount(s.result.labels) > kMaxRank) return kImpossible;
  return s.flops + (s.result.structured ? 0 : s.elements);
}

// ---- one pair

// Axes that only `own` has and nobody needs are summed first.
double flops_of_sums(const Equation& eq, LabelSet own, LabelSet needed) {
  return (own & ~needed) != 0 ? elements(eq, own) : 0;
}

bool can_join(const PlanTerm& a, const PlanTerm& b) {
  return a.structured && b.structured && (a.labels & b.labels & (a.classes | b.classes)) == 0 &&
         a.class_axes + b.class_axes <= kMaxClassAxes;
}

PlanStep join(const Equation& eq, const PlanTerm& a, const PlanTerm& b, LabelSet keep) {
  PlanStep s{.kind = PlanStep::Kind::join};
  s.result = {.labels = (a.labels | b.labels) & keep,
              .classes = (a.classes | b.classes) & keep,
              .class_axes = a.class_axes + b.class_axes,
              .rows = a.rows * b.rows / std::max(elements(eq, a.labels & b.labels), 1.0)};
  s.flops = s.result.rows;
  s.result.structured = s.result.classes != 0;
  return s;
}

PlanStep along_routes(const Equation& eq, const PlanTerm& hot, const PlanTerm& dense, LabelSet keep) {
  const LabelSet rows = hot.labels & ~hot.classes, varies = dense.labels & (keep | hot.labels);
  PlanStep s;
  s.result.labels = (hot.labels | dense.labels) & keep;
  s.kind = (s.result.labels & hot.classes) != 0 ? PlanStep::Kind::scatter : PlanStep::Kind::gather;
  if ((varies & ~rows) == 0 && (hot.classes & ~keep) == 0) {
    s.kind = PlanStep::Kind::scale;
    s.result = {.labels = hot.labels & keep,
                .structured = true,
                .classes = hot.classes,
                .class_axes = hot.class_axes,
                .rows = hot.rows};
  }
  s.flops = 2 * hot.rows * elements(eq, varies & ~hot.labels) + flops_of_sums(eq, dense.labels, keep | hot.labels);
  return s;
}

PlanStep dense_pair(const Equation& eq, const PlanTerm& a, const PlanTerm& b, LabelSet keep) {
  PlanStep s;
  const LabelSet varies_a = a.labels & (keep | b.labels), varies_b = b.labels & (keep | a.labels);
  s.result.labels = (a.labels | b.labels) & keep;
  s.kind = (varies_a & varies_b & ~keep) == 0 ? PlanStep::Kind::product : PlanStep::Kind::gemm;
  s.flops = (s.kind == PlanStep::Kind::gemm ? 2 : 1) * elements(eq, varies_a | varies_b) +
            flops_of_sums(eq, a.labels, keep | b.labels) + flops_of_sums(eq, b.labels, keep | a.labels);
  return s;
}

PlanStep plan_pair(const Equation& eq, const PlanTerm& a, const PlanTerm& b, LabelSet keep) {
  PlanStep s;
  if (can_join(a, b)) {
    s = join(eq, a, b, keep);
  } else if (a.structured && b.structured) {  // the smaller one is made dense
    const bool a_larger = elements(eq, a.labels) >= elements(eq, b.labels);
    s = a_larger ? along_routes(eq, a, b, keep) : along_routes(eq, b, a, keep);
    s.flops += elements(eq, a_larger ? b.labels : a.labels);
  } else if (a.structured) {
    s = along_routes(eq, a, b, keep);
  } else if (b.structured) {
    s = along_routes(eq, b, a, keep);
  } else {
    s = dense_pair(eq, a, b, keep);
  }
  s.keep = keep;
  s.elements = elements_of(eq, s.result);
  return s;
}

// ---- the order

LabelSet needed_later(const Equation& eq, const std::vector<PlanTerm>& terms, std::size_t a, std::size_t b) {
  LabelSet keep = set_of(eq.result);
  for (std::size_t i = 0; i < terms.size(); ++i)
    if (i != a && i != b) keep |= terms[i].labels;
  return keep;
}

// A join whose table has no more rows than the larger of the two.
bool joins_cheaply(const Equation& eq, const PlanTerm& a, const PlanTerm& b) {
  return can_join(a, b) && std::min(a.rows, b.rows) <= elements(eq, a.labels & b.labels);
}

// Steps for a list that shrinks: positions in it.
struct Candidate {
  std::size_t a, b;
  PlanStep step;
};
std::vector<Candidate> candidates(const Equation& eq, const std::vector<PlanTerm>& terms) {
  std::vector<Candidate> list;
  for (const bool joins : {true, false})
    for (std::size_t a = 0; a < terms.size(); ++a)
      for (std::size_t b = a + 1; b < terms.size(); ++b)
        if (joins_cheaply(eq, terms[a], terms[b]) == joins)
          list.push_back({a, b, plan_pair(eq, terms[a], terms[b], needed_later(eq, terms, a, b))});
  return list;
}

// The terms that are left, and the operand numbers that they go by.
struct State {
  std::vector<PlanTerm> terms;
  std::vector<int> numbers;
  PlanStep take(Candidate c) {
    c.step.a = numbers[c.a], c.step.b = numbers[c.b];
    terms[c.a] = c.step.result;
    terms.erase(terms.begin() + static_cast<std::ptrdiff_t>(c.b));
    numbers.erase(numbers.begin() + static_cast<std::ptrdiff_t>(c.b));
    return c.step;
  }
};

// Every order, depth first; `best` is the cheapest complete one so far.
struct Search {
  const Equation& eq;
  std::vector<PlanStep> best = {};
  double best_cost = kImpossible;
  std::vector<PlanStep> steps = {};

  void run(const State& state, double so_far) {
    if (so_far >= best_cost && !best.empty()) return;
    if (state.terms.size() <= 1) {
      best_cost = so_far;
      best = steps;
      return;
    }
    for (const Candidate& c : candidates(eq, state.terms)) {
      State rest = state;
      steps.push_back(rest.take(c));
      run(rest, so_far + cost(c.step));
      steps.pop_back();
    }
  }
};

std::vector<PlanStep> greedy(const Equation& eq, State state) {
  std::vector<PlanStep> steps;
  while (state.terms.size() > 1) {
    const std::vector<Candidate> list = candidates(eq, state.terms);
    auto best = list.begin();
    const bool joins = joins_cheaply(eq, state.terms[best->a], state.terms[best->b]);
    if (!joins)
      best = std::min_element(list.begin(), list.end(),
                              [](const Candidate& p, const Candidate& q) { return cost(p.step) < cost(q.step); });
    steps.push_back(state.take(*best));
  }
  return steps;
}

}  // namespace

double elements_of(const Equation& eq, const PlanTerm& t) {
  return t.structured ? t.rows * t.class_axes : elements(eq, t.labels);
}

std::vector<PlanStep> plan_order(const Equation& eq, const std::vector<PlanTerm>& terms) {
  constexpr std::size_t kOptimalUpTo = 6;
  State state{terms, std::vector<int>(terms.size())};
  std::iota(state.numbers.begin(), state.numbers.end(), 0);
  if (terms.size() > kOptimalUpTo) return greedy(eq, std::move(state));
  Search search{.eq = eq};
  search.run(state, 0);
  return search.best;
}

}  // namespace moegrad
