// Lesson 9: load balancing, with and without a loss.
//
// When tokens choose experts (lesson 6), the rich get richer: an expert that happens to be chosen more often learns more,
// is chosen even more often, and the others idle. There are three cures:
//
//   a loss   E sum_e f_e p_e is added to the error, f_e the share of tokens that expert e gets, p_e its mean probability
//            (arXiv:2101.03961). It is 1 if both are even. f has no gradient, p has: it pushes down who has too much.
//   a bias   a number per expert, added to the scores for the choice only, not for the gates. After each step it goes up
//            by a little for experts with too few tokens, and down for the others (arXiv:2408.15664). No gradient at all.
//   a rule   experts choose tokens (lesson 5): the loads (tokens of each expert) are equal by construction.
//
// A tiny mixture is trained four times, with no cure and with each. Letters: N tokens, D numbers per token, E experts.
#include <map>

#include "examples/lesson.h"

using namespace moegrad;
using namespace lesson;

constexpr i64 N = 256, D = 16, E = 8, kSteps = 400;
enum class Cure { none, loss, bias, rule };

// The task: tokens are of E kinds, each kind around its own center, and what is wanted of a token is its product with the
// matrix of its kind. One expert per kind would solve it. All centers have a common part, as words of a language do, and
// that is why at first most tokens score the same expert highest.
struct Task {
  Random random{9};
  Tensor centers = random_normal({E, D}, 0, 1, random.next()) + 2.0 * random_normal({1, D}, 0, 1, random.next());
  Tensor matrices = random_normal({E, D, D}, 0, 0.25, random.next());
  struct Batch {
    Tensor x, target;  // [1, N, D]
  };
  Batch next() {
    const Tensor kind = one_hot(random_integers({1, N}, 0, E, random.next()), E);
    const Tensor x = einsum("gne,ed->gnd", kind, centers) + random_normal({1, N, D}, 0, 0.3, random.next());
    return {x, einsum("gne,gnd,edf->gnf", kind, x, matrices)};
  }
};

struct Outcome {
  std::vector<double> load;     // of each expert, its share of the tokens in the last 50 steps
  std::vector<double> busiest;  // the largest share, step by step
  double error;                 // mean square error in the last 50 steps
  double left_out;              // share of the tokens that no expert works on, then
  double most() const { return *std::max_element(load.begin(), load.end()); }
  double least() const { return *std::min_element(load.begin(), load.end()); }
};

// Who goes where, if every token chooses one expert, by probability + bias; its gate is the probability without the bias.
Routing choose_one(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const Tensor logits = einsum("gnd,ed->gne", x, weight), probabilities = softmax(logits, -1);
  const Tensor chosen = top_k(probabilities + bias, 1).indices;  // [1, N, 1]
  Routing r = tokens_choose(gather(probabilities, -1, chosen), chosen, sorted_slots(chosen[0], E), E, x.dtype());
  r.probabilities = probabilities;
  return r;
}

Outcome train(Cure cure) {
  Task task;
  Random random(90);
  Init init(random);
  ExpertChoiceRouter router(D, {.experts = E, .capacity = {.factor = 1}}, init);
  LinearExperts experts(D, {.experts = E}, init);
  Tensor bias = zeros({E});
  std::vector<ParameterGroup> all = one_group(router);
  for (const Member& m : experts.named_parameters()) all[0].parameters.push_back({m.name, *m.tensor});
  Adam optimizer(all, {.lr = 1e-2});

  Outcome result{std::vector<double>(E, 0), {}, 0, 0};
  for (i64 step = 0; step < kSteps; ++step) {
    const Task::Batch batch = task.next();
    Context context;
    const Routing r =
        cure == Cure::rule ? router.route(batch.x, {}, context) : choose_one(batch.x, router.gate.weight, bias);
    const Tensor slots = einsum("gpn,gnd->gpd", r.dispatch, batch.x);
    const Tensor y = einsum("gpn,gpd->gnd", r.combine, experts.forward(slots, r, context));
    const Tensor error = mean(square(y - batch.target));
    const Tensor balance = cure == Cure::loss ? load_balancing_loss(r.probabilities, r.chosen) : scalar(0);
    (error + 0.5 * balance).backward();
    optimizer.step();
    optimizer.zero_grad();

    const Tensor share = cast(r.load, DType::f32) / double(N);  // [E], 1/E if even
    if (cure == Cure::bias) bias = bias - 0.02 * sign(share - 1.0 / E);
    result.busiest.push_back(amax(share).item());
    if (step < kSteps - 50) continue;
    for (std::size_t e = 0; e < E; ++e) result.load[e] += share[i64(e)].item() / 50;
    result.error += error.item() / 50;
    result.left_out += sum(r.dropped).item() / N / 50;
  }
  return result;
}

int main() {
  begin(9, "load balancing, with and without a loss");
  say("{} experts, one per token. An even share is {:.1f} %. Each run trains for {} steps of {} tokens.", E, 100.0 / E,
      kSteps, N);
  std::map<Cure, Outcome> runs;
  for (const auto& [cure, title] :
       {std::pair{Cure::none, "No cure"}, std::pair{Cure::loss, "A loss, with the weight 0.5"},
        std::pair{Cure::bias, "A bias, moved by 0.02 per step"}, std::pair{Cure::rule, "Expert choice"}}) {
    const Outcome& run = runs[cure] = train(cure);
    say("{}. Shares of the experts in the end:", title);
    for (std::size_t e = 0; e < E; ++e)
      show(fmt::format("expert {}  {:5.1f} %  {}", e, 100 * run.load[e], bar(run.load[e], 1, 60)));
    show(fmt::format("the busiest, at steps 1, 20, 100, {}: {:.0f} %, {:.0f} %, {:.0f} %, {:.0f} %", kSteps,
                     100 * run.busiest[0], 100 * run.busiest[19], 100 * run.busiest[99], 100 * run.busiest.back()));
    show(fmt::format("error in the end: {:.3f}; tokens that no expert works on: {:.0f} %", run.error,
                     100 * run.left_out));
  }

  const Outcome &none = runs[Cure::none], &loss = runs[Cure::loss], &bias = runs[Cure::bias], &rule = runs[Cure::rule];
  const double even = 1.0 / E;
  const auto idle = std::count_if(none.load.begin(), none.load.end(), [&](double share) { return share < even / 10; });
  say("Without a cure some experts idle, and those that work must each solve several kinds of tokens, badly. With "
      "either cure the experts share the work, and as there are as many as kinds, the error is smaller, too.");
  check("without a cure, at least three of the eight experts idle", idle >= 3);
  check("and one has more than three times an even share", none.most() > 3 * even);
  check("with the loss, every share is between half and twice an even one",
        loss.least() > even / 2 && loss.most() < 2 * even);
  check("with the bias, every share is within a quarter of an even one",
        bias.least() > 0.75 * even && bias.most() < 1.25 * even);
  check("both make the error smaller than without", loss.error < none.error && bias.error < none.error);
  check("with expert choice, all shares are equal at every step",
        *std::max_element(rule.busiest.begin(), rule.busiest.end()) < even + 1e-6 && rule.least() > even - 1e-6);
  say("Expert choice is perfectly even, but some tokens are picked by nobody and get 0; more capacity mends that, "
      "at the price of more work. (Here the kinds of tokens are equally frequent. Where they are not, even loads "
      "and a small error are different aims, and the weight of the loss is the exchange rate.)");
  return finish();
}
