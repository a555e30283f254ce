// Lesson 6: top-k routing, capacity, and what is dropped.
//
// In lesson 5 experts chose tokens. Mostly it is the other way round (arXiv:2006.16668, 2101.03961): every token chooses
// the K experts that score it highest, and adds up what they make of it, weighted by its gates, the softmax over the K
// scores. The trouble is that tokens agree: some experts are chosen by many tokens, others by few. Tensors have fixed
// shapes, so every expert gets the same number of slots, its *capacity*
//
//   C = ceil(factor N K / E)
//
// for N tokens and E experts. At factor 1 all choices would just fit if they were spread evenly. A choice that finds its
// expert full is *dropped*: the token gets nothing from that expert. First choices of all tokens come before second ones.
#include "examples/lesson.h"

using namespace moegrad;
using namespace lesson;

// A router whose weights are the identity matrix: its scores (*logits*) are its inputs, so that we can choose them.
TopKRouter router_of(i64 experts, i64 k, Capacity capacity, Priority priority = Priority::first_come) {
  Random random(1);
  Init init(random, DType::f64);
  TopKRouter router(experts, {.experts = experts, .k = k, .capacity = capacity, .priority = priority}, init);
  router.gate.weight = eye(experts, DType::f64);
  return router;
}
Routing route(const TopKRouter& router, const Tensor& logits) {
  Context context;
  return router.route(logits, {}, context);
}

// The rule above as two loops: which token is in which slot, -1 = empty. chosen [N, K].
std::vector<i64> fill_slots(const Tensor& chosen, i64 experts, i64 capacity) {
  std::vector<i64> slot(static_cast<std::size_t>(experts * capacity), -1), used(static_cast<std::size_t>(experts), 0);
  for (i64 k = 0; k < chosen.dim(1); ++k)
    for (i64 n = 0; n < chosen.dim(0); ++n) {
      const i64 e = static_cast<i64>(chosen[n][k].item()), c = used[static_cast<std::size_t>(e)]++;
      if (c < capacity) slot[static_cast<std::size_t>(e * capacity + c)] = n;
    }
  return slot;
}

// Sum of the gates of all choices that found no slot: how much of its mixture the layer lost.
double gates_lost(const Routing& r) { return sum(r.gates).item() - sum(r.combine).item(); }

int main() {
  begin(6, "top-k routing, capacity, and what is dropped");

  // ---- six tokens, three experts, two choices each, and expert 0 is popular
  const i64 N = 6, E = 3, K = 2;
  const Tensor logits = tensor({{{3, 1, 0}, {2, 0, 1}, {4, 3, 0}, {1, 2, 0}, {3, 0, 1}, {0, 1, 2}}}, DType::f64);
  const Capacity factor_one{.factor = 1};
  const i64 C = factor_one.of(N, K, E);
  const Routing r = route(router_of(E, K, factor_one), logits);
  say("{} tokens choose {} of {} experts each. With factor 1 an expert has C = {} slots. Choices, first and second:", N,
      K, E, C);
  for (i64 n = 0; n < N; ++n)
    show(fmt::format("token {}: expert {:.0f} with gate {:.2f}, expert {:.0f} with gate {:.2f}", n,
                     r.chosen.index({0, n, 0}).item(), r.gates.index({0, n, 0}).item(),
                     r.chosen.index({0, n, 1}).item(), r.gates.index({0, n, 1}).item()));
  check("C = ceil(1 * 6 * 2 / 3) = 4", C == 4);
  check_equal("the gates are the softmax over the chosen scores", r.gates, softmax(gather(logits, -1, r.chosen), -1));

  say("Slots are filled with first choices, tokens in their order, then with second choices:");
  const std::vector<i64> by_hand = fill_slots(r.chosen[0], E, C);
  for (i64 e = 0; e < E; ++e) {
    std::string line = fmt::format("expert {}:", e);
    for (i64 c = 0; c < C; ++c) {
      const i64 token = static_cast<i64>(r.token.index({0, e * C + c}).item());
      line += token < 0 ? " empty" : fmt::format(" {}", token);
    }
    show(line);
  }
  check("two loops fill the slots in the same way", by_hand == r.token[0].to_vector<i64>());
  const std::vector<i64> dropped = r.dropped[0].to_vector<i64>();
  check("token 3's second choice was expert 0, full by then: dropped", dropped == std::vector<i64>{0, 0, 0, 1, 0, 0});

  // What is dropped is missing from the token's sum. Experts that return their input make it visible: y = x (sum of the
  // gates that are left).
  const Tensor x = ones({1, N, 1}, DType::f64);
  const Tensor y = einsum("gpn,gpd->gnd", r.combine, einsum("gpn,gnd->gpd", r.dispatch, x));
  say("If experts return what they get, y_n is x_n times the gates that found a slot:");
  show("y", squeeze(y));
  check("token 3 keeps only its first gate", distance(y.index({0, 3, 0}), r.gates.index({0, 3, 0})) < 1e-15);
  say("A token whose choices are all dropped gets y = 0. Layers stand beside a direct path, x + y, so it goes on "
      "unchanged.");

  // ---- more tokens: how much is dropped, and how much is wasted
  Random random(6);
  const i64 tokens = 512, experts = 8;
  const Tensor popular = linspace(1, -1, experts, DType::f64);  // a constant preference for the first experts
  const Tensor many = random_normal({1, tokens, experts}, 0, 1, random.next(), DType::f64) + popular;
  say("Now {} tokens, {} experts, {} choices, and the first experts are preferred. Choices dropped, and slots "
      "empty:",
      tokens, experts, K);
  double before = 1;
  bool conserved = true, falling = true, by_loops = true;
  for (const double factor : {0.5, 1.0, 1.25, 1.5, 2.0, 3.0}) {
    const Routing m = route(router_of(experts, K, {.factor = factor}), many);
    const double choices = double(tokens * K), lost = sum(m.dropped).item() / choices;
    const double slots = double(m.token.dim(1)), empty = 1 - sum(m.load).item() / slots;
    show(fmt::format("factor {:4}  dropped {:3.0f} %  empty {:3.0f} %  {}", factor, 100 * lost, 100 * empty,
                     bar(lost, 1)));
    conserved &= sum(m.load).item() + sum(m.dropped).item() == choices;
    falling &= lost <= before;
    by_loops &= fill_slots(m.chosen[0], experts, m.slots_per_expert()) == m.token[0].to_vector<i64>();
    before = lost;
  }
  check("every choice is either in a slot or dropped", conserved);
  check("the two loops fill the slots in the same way, each time", by_loops);
  check("more capacity drops less, and wastes more slots", falling);

  // ---- without capacity: as many slots as choices, sorted by expert; experts get as many rows as chose them
  const Routing roomy = route(router_of(experts, K, {.slots = tokens}), many);
  const Routing dropless = route(router_of(experts, K, {}), many);
  say("Dropless routing (arXiv:2211.15841) gives each choice a slot and sorts the slots by expert: no waste, no "
      "loss, but experts of uneven size. Its {} slots, against {} if every expert had room for all:",
      dropless.token.dim(1), roomy.token.dim(1));
  check("dropless has exactly N K slots", dropless.token.dim(1) == tokens * K);
  check("neither drops", sum(roomy.dropped).item() == 0 && sum(dropless.dropped).item() == 0);
  const Tensor values = random_normal({1, tokens, 4}, 0, 1, random.next(), DType::f64);
  const auto through = [&](const Routing& m) {
    return einsum("gpn,gpd->gnd", m.combine, einsum("gpn,gnd->gpd", m.dispatch, values));
  };
  check_equal("both give the same y", through(roomy), through(dropless));

  // ---- who is served first matters: in the order of best gates, what is lost weighs less (arXiv:2106.05974)
  const double first_come = gates_lost(route(router_of(experts, K, {.factor = 1}), many));
  const double best_gate = gates_lost(route(router_of(experts, K, {.factor = 1}, Priority::best_gate), many));
  say("At factor 1, tokens served in their order lose gates of {:.0f} in all; served by their best gate, {:.0f}. "
      "(But then a token's place depends on those behind it, which a language model must not: lesson 8.)",
      first_come, best_gate);
  check("serving the most certain tokens first loses less", best_gate < first_come);
  return finish();
}
