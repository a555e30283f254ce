// Lesson 3: einsum.
//
// Most of what a network computes is sums of products: matrix products, scalar products, averages, attention. `einsum`
// writes any of them with one letter per axis. Letters behind the arrow stay; letters that do not stand there are summed:
//
//   y = einsum("ik,kj->ij", a, b)   means   y_ij = sum over k of a_ik b_kj
//
// A paper's equation can be typed in as it stands, and the shapes are part of the text. Two more things follow: which
// product to compute first is the library's business, and the gradient of an einsum is another einsum.
#include "examples/lesson.h"

using namespace moegrad;
using namespace lesson;

int main() {
  begin(3, "einsum");
  Random random(3);
  const auto normal = [&](const Shape& shape) { return random_normal(shape, 0, 1, random.next(), DType::f64); };
  const Tensor a = normal({3, 4}), b = normal({4, 5}), square_matrix = normal({4, 4});

  // ---- the definition, as loops: i and j are kept, k is summed
  Tensor by_loops = zeros({3, 5}, DType::f64);
  for (i64 i = 0; i < 3; ++i)
    for (i64 j = 0; j < 5; ++j) {
      double sum = 0;
      for (i64 k = 0; k < 4; ++k) sum += a[i][k].item() * b[k][j].item();
      by_loops[i][j].assign(scalar(sum, DType::f64));
    }
  say("a is [3, 4] and b [4, 5]. In \"ik,kj->ij\" k stands on the left only, so it is summed: the matrix product.");
  const Tensor y = einsum("ik,kj->ij", a, b);
  check_equal("ik,kj->ij = three loops", y, by_loops);
  check_equal("ik,kj->ij = matmul(a, b)", y, matmul(a, b));

  // ---- the same rule gives much else
  say("By the same rule, with other letters:");
  check_equal("ij->ji  both letters stay, in another order: the transpose", einsum("ij->ji", a), transpose(a));
  check_equal("ij->i   j is summed: the sum of each row", einsum("ij->i", a), sum(a, 1));
  check_equal("ij->    all are summed: one number", einsum("ij->", a), sum(a));
  check_equal("ii->i   a letter twice in one operand: the diagonal", einsum("ii->i", square_matrix),
              diagonal(square_matrix, 0, 1));
  check_equal("i,j->ij nothing is summed: every product of two vectors", einsum("i,j->ij", a[0], b[0]),
              unsqueeze(a[0], 1) * b[0]);
  check_equal("ij,ij-> all pairs multiplied and summed: the scalar product", einsum("ij,ij->", a, a), sum(a * a));

  // The letters of this library: B sentences of a batch, S positions of a sentence, D numbers per position, H heads.
  // Attention (arXiv:1706.03762) lets every position s score every position t of its sentence, once in each head h:
  const Tensor query = normal({2, 6, 2, 4}), key = normal({2, 6, 2, 4});  // [B, S, H, D / H]
  const Tensor scores = einsum("bshd,bthd->bhst", query, key);
  say("Attention scores are one line: \"bshd,bthd->bhst\" has the shape {}. Position 5 of sentence 1 scores "
      "position 2 in head 0 by a scalar product over d:",
      to_string(scores.shape()));
  check_equal("an element of it = the scalar product", scores.index({1, 0, 5, 2}),
              sum(query.index({1, 5, 0}) * key.index({1, 2, 0})));

  // ---- the order of products: same result, other cost
  // With a [100, 2], b [2, 100], c [100, 2], the product (a b) c first makes a [100, 100] matrix; a (b c) first makes a
  // [2, 2] one. Einsum counts multiplications and additions (FLOPs) of every order and takes the cheapest.
  const Tensor tall = normal({100, 2}), wide = normal({2, 100}), last = normal({100, 2});
  const EinsumPath path = einsum_path("ab,bc,cd->ad", {tall, wide, last});
  say("einsum_path tells the plan without running it. For \"ab,bc,cd->ad\" with shapes [100, 2], [2, 100], [100, "
      "2]:");
  show(path.text());
  const double left_first = 2.0 * 100 * 2 * 100 + 2.0 * 100 * 100 * 2;  // 2 FLOPs for each of a b c, then of a c d
  say("From left to right it would be {:.0f} FLOPs, {:.0f} times as many.", left_first, left_first / path.flops);
  check("the plan costs 2 (2 * 100 * 2) + 2 (100 * 2 * 2) = 1600 FLOPs", path.flops == 1600);
  check("its largest result is y itself, of 200 numbers", path.largest == 200);
  check_equal("the value is the same", einsum("ab,bc,cd->ad", tall, wide, last), matmul(matmul(tall, wide), last),
              1e-10);

  // ---- the gradient of an einsum is an einsum
  // y_ij = sum_k a_ik b_kj. If dy_ij says how much a loss changes with y_ij, a_ik changes it through all y_ij of row i:
  //   da_ik = sum over j of dy_ij b_kj
  // So the operand and the result trade places in the equation, and nothing else happens. For any number of operands.
  const Tensor ga = a.detach().requires_grad_(), gb = b.detach().requires_grad_(), dy = normal({3, 5});
  const std::vector<Tensor> by_autograd = grad(einsum("ik,kj->ij", ga, gb), {ga, gb}, dy);
  say("The gradient: let a and y trade places in \"ik,kj->ij\".");
  check_equal("da = einsum(\"ij,kj->ik\", dy, b)", by_autograd[0], einsum("ij,kj->ik", dy, b));
  check_equal("db = einsum(\"ik,ij->kj\", a, dy)", by_autograd[1], einsum("ik,ij->kj", a, dy));

  // Three operands: tokens x [N, D] weighted by gates [N, E], each through an expert's matrix [E, D, F] (a preview).
  const Tensor x = normal({6, 4}).requires_grad_(), gates = normal({6, 3}), w = normal({3, 4, 5}), dz = normal({6, 5});
  const Tensor z = einsum("nd,ne,edf->nf", x, gates, w);
  check_equal("of three operands, dx = einsum(\"nf,ne,edf->nd\", dz, gates, w)", grad(z, {x}, dz)[0],
              einsum("nf,ne,edf->nd", dz, gates, w));

  // ---- a mistake is named by its letter
  say("A letter has one size. If it does not, the error names letter, operands and shapes:");
  std::string error;
  try {
    einsum("ik,kj->ij", a, a);
  } catch (const ShapeError& e) {
    error = e.what();
  }
  show(error);
  check("it says which letter", error.find("letter 'k'") != std::string::npos);
  return finish();
}
