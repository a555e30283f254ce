// Lesson 4: a one-hot is a gather.
//
// A mixture of experts moves *tokens* (rows of numbers, one for each piece of a text) into *slots* (rows of an expert's
// worktable; an *expert* is a small network). Papers write this move as a matrix product. *Dispatch* is a matrix of zeros
// with a single 1 in row p, at the token that slot p holds, and *combine* brings the results back, weighted by *gates*
// (how much each slot counts). With P slots, N tokens and D numbers per token:
//
//   slots_pd = sum_n dispatch_pn x_nd          y_nd = sum_p combine_pn slots_pd,  combine_pn = gate_p dispatch_pn
//
// As equations they are perfect. As programs they multiply by zero P N D times, to copy P rows. In this library
// `one_hot` stores where the ones are and nothing else, and einsum knows what a product with it is: reading rows by their
// number, which is called a *gather*; and adding rows up where they belong, a *scatter*.
#include "examples/lesson.h"

using namespace moegrad;
using namespace lesson;

struct Result {
  Tensor y, dx, dgate;
};

// The two equations above, and the gradients of sum(y^2). Whether dispatch is full of zeros or a list of places, the
// text is the same.
Result there_and_back(const Tensor& dispatch, const Tensor& tokens, const Tensor& gates) {
  const Tensor x = tokens.detach().requires_grad_(), gate = gates.detach().requires_grad_();
  const Tensor slots = einsum("pn,nd->pd", dispatch, x);
  const Tensor combine = unsqueeze(gate, 1) * dispatch;
  const Tensor y = einsum("pn,pd->nd", combine, slots);
  const std::vector<Tensor> d = grad(sum(square(y)), {x, gate});
  return {y.detach(), d[0], d[1]};
}

struct Measured {
  Cost cost;
  double ms;
  i64 largest;  // elements of the largest tensor that was made
};
Measured measure(const Tensor& dispatch, const Tensor& x, const Tensor& gate) {
  Measured m{};
  {
    CostLedger ledger;           // counts what every operation computes, reads and writes
    memory::AllocationLog made;  // and this one the tensors that are made
    there_and_back(dispatch, x, gate);
    m.cost = ledger.total(), m.largest = made.largest();
  }
  m.ms = milliseconds(5, [&] { there_and_back(dispatch, x, gate); });
  return m;
}

bool close(const Tensor& a, const Tensor& b) { return distance(a, b) <= 1e-5 * amax(abs(b)).item(); }

int main() {
  begin(4, "a one-hot is a gather");
  Random random(4);

  // ---- small enough to look at: three slots over four tokens of two numbers
  const Tensor token = tensor({2, 0, -1}, DType::i64);  // slot 0 holds token 2, slot 1 token 0, slot 2 is empty
  const Tensor x = tensor({{1, 1}, {2, 2}, {3, 3}, {4, 4}});
  const Tensor dispatch = one_hot(token, 4);
  say("Slot 0 holds token 2, slot 1 holds token 0, slot 2 is empty (-1). As a matrix [P, N], dispatch is");
  show("dispatch", cast(dense(dispatch), DType::f32));
  show("x", x);
  say("and its product with x is rows 2 and 0 of x, and a row of zeros:");
  const Tensor slots = einsum("pn,nd->pd", dispatch, x);
  show("slots", slots);
  check_equal("the matrix product gives the same", slots, matmul(cast(dense(dispatch), DType::f32), x), 0);
  check_equal("so does reading rows by their number", slice(slots, 0, {0, 2}),
              index_select(x, 0, tensor({2, 0}, DType::i64)), 0);
  say("The library's plan for this einsum:");
  const EinsumPath plan = einsum_path("pn,nd->pd", {dispatch, x});
  show(plan.text());
  check("the plan is a gather, not a matrix product", plan.steps.size() == 1 && plan.steps[0].kind == "gather");

  // ---- the gradient. slots_p = x_token(p), so what a loss wants of slot p it wants of token(p): a scatter.
  const Tensor leaf = x.detach().requires_grad_(), dslots = tensor({{10, 11}, {20, 21}, {30, 31}});
  const Tensor dx = grad(einsum("pn,nd->pd", dispatch, leaf), {leaf}, dslots)[0];
  say("Backwards, row p of the slots' gradient is added to the token that slot p holds. The empty slot gives "
      "nothing:");
  show("dslots", dslots);
  show("dx", dx);
  check_equal("dx = einsum(\"pn,pd->nd\", dispatch, dslots)", dx, einsum("pn,pd->nd", dispatch, dslots), 0);

  // ---- what it costs. Both ways do the same; only how dispatch is stored differs.
  say("There and back, forward and backward, with as many slots as tokens and D = 64 (f32):");
  show("   N = P  stored as     MFLOP   MB read+written  largest tensor       ms");
  const i64 D = 64;
  double flops_ratio_before = 0;
  for (const i64 N : {256, 512, 1024}) {
    const Tensor tokens = random_normal({N, D}, 0, 1, random.next());
    const Tensor places = random_integers({N}, 0, N, random.next());  // some tokens twice, some never
    const Tensor gates = random_uniform({N}, 0, 1, random.next());
    const Tensor list = one_hot(places, N), matrix = cast(dense(one_hot(places, N)), DType::f32);
    const Measured a = measure(matrix, tokens, gates), b = measure(list, tokens, gates);
    for (const auto& [how, m] : {std::pair{"matrix", a}, std::pair{"list", b}})
      show(fmt::format("{:8}  {:9}  {:8.2f}  {:16.2f}  {:14}  {:7.2f}", N, how, m.cost.flops / 1e6, m.cost.bytes / 1e6,
                       m.largest, m.ms));
    const double flops_ratio = a.cost.flops / b.cost.flops;
    show(fmt::format("          the list does 1/{:.0f} of the FLOPs, in 1/{:.0f} of the time", flops_ratio,
                     a.ms / b.ms));

    const Result p = there_and_back(matrix, tokens, gates), q = there_and_back(list, tokens, gates);
    check(fmt::format("N = {}: y and both gradients agree to f32's digits", N),
          close(p.y, q.y) && close(p.dx, q.dx) && close(p.dgate, q.dgate));
    check("with the list, no tensor was larger than the tokens", b.largest <= N * D);
    check("with the matrix, there were some of P N numbers", a.largest == N * N);
    // slots and y, and backwards the gradients of combine, of slots and of x: 2 P N D multiplications and additions each
    check("and five products of 2 P N D FLOPs", a.cost.flops > 5.0 * 2 * double(N) * double(N) * double(D));
    if (flops_ratio_before > 0)
      check("twice the tokens, twice the waste", std::abs(flops_ratio / flops_ratio_before - 2) < 0.1);
    flops_ratio_before = flops_ratio;
  }
  say("So the equation of the paper stays in the program, and the cost is that of copying rows: it grows with the "
      "tokens, not with their square. All mixtures of this library are written like this.");
  return finish();
}
