// The mixture of ST-MoE: top-n gating with a capacity, in which second choices are taken at random.
#pragma once
#include <vector>

#include "nn/moe/coordinate_descent.h"
#include "nn/moe/moe.h"

namespace moegrad {

/// probabilities = softmax(x w^T);  chosen = top_k(probabilities, K);  gates = those of the chosen, summing to 1.
/// Choice k > 0 is taken with probability min(1, gate / threshold_k), the first always, in training and in evaluation.
///   Shapes    x [G, N, D]; weight [E, D]; thresholds [K], the first not used
///   Capacity  C = max(min(N, floor(factor N / E)), 4) slots per expert and group; first choices before second ones,
///             tokens in order; choices that find their expert full are dropped. Gates are not renormalised after that
///   Dispatch  a one-hot. straight_through: its gradient is that of combine, d dispatch := d combine, so that the gates
///             also learn from what experts see. No finite difference shows it
///   Top-k     differentiable_topk: gates are what coordinate_descent(probabilities, min(topk_ratio K, E)) gives the
///             chosen, then made to sum to 1, so that logits of experts that were not chosen get a gradient, too. The
///             choice, the probabilities and the losses stay as they are
///   Mask      masked tokens are in no slot and no loss; they do count in the N of the capacity
///   Losses    in training: "load_balancing", E^2 times the mean over groups and experts of probability times share of
///             first choices; "router_z". Unweighted
///   Records   "load" i64 [E], slots in use; "dropped" i64 [], taken choices without a slot
///   Draws     with gate noise gumbel [G, N, E]; then uniform [K, G, N]
///   Choice    "second_choices": which further choices are taken
///   Precision logits, softmax, gates and losses are f32 or wider
///   Errors    Error: top_n outside [2, experts], factors, thresholds, topk_ratio or descent out of range, or not
///             K - 1 thresholds
///   Source    ST-MoE (2022), arXiv:2202.08906, appendix A and equation 5; GShard (2020), arXiv:2006.16668, Algorithm 1
///             for second choices; CoLT5 (2023), arXiv:2303.09752, for the soft top-k. The class is TopNGating of
///             st-moe-pytorch
struct StMoERouter : Router {
  /// Which first choices the load-balancing loss counts: all, or those that found a slot (st-moe-pytorch).
  enum class Counted { all, kept };
  struct Options {
    i64 experts = 16;
    i64 top_n = 2;
    std::vector<double> threshold_train{0.2}, threshold_eval{0.2};  ///< of choices 1 .. K - 1; one number: of all
    double capacity_factor_train = 1.25, capacity_factor_eval = 2;
    i64 least_capacity = 4;
    bool straight_through = false;
    Counted counted = Counted::all;
    double gate_noise = 0;  ///< factor of Gumbel noise on the logits; the z-loss is of those without it
    bool gate_noise_in_evaluation = false;
    bool differentiable_topk = false;
    double topk_ratio = 9.0 / 8;  ///< how many it looks for, as a multiple of K
    CoordinateDescentOptions descent = {};
  };
  StMoERouter(i64 width, Options options, Init& init);
  Routing route(const Tensor& x, const Tensor& mask, Context& context) const override;
  void members(Members& m) override;

  i64 capacity(i64 tokens, bool training) const;

  Options options;
  Linear to_gates;
  Tensor threshold_train, threshold_eval;  ///< [K], buffers

 private:
  Tensor gates_of(const Tensor& probabilities, const Tensor& best) const;
  Tensor taken(const Tensor& gates, const Tensor& chosen, Context& context) const;
};

/// That router with feed-forward experts: y_n = sum_p combine_pn w2(gelu(b) a * scale), [a, b] = w1 slots_p, of hidden
/// size floor(2/3 hidden_mult D).
///   Shapes   x [.., N, D] -> y, same shape; leading axes are groups
///   Mask, losses, records, draws and errors as the router
///   State    "gate.to_gates.weight", "gate.threshold_train", "gate.threshold_eval",
///            "experts.experts.0.net.0.weight", .., "experts.experts.0.net.1.mult_bias", .. of st-moe-pytorch
///   Source   arXiv:2202.08906; the class MoE of st-moe-pytorch
struct StMoE : MoE {
  struct Options {
    StMoERouter::Options router = {};
    double hidden_mult = 4;
    double balance_coefficient = 1e-2, z_coefficient = 1e-3;
  };
  StMoE(i64 width, Options options, Init& init);
  /// With experts of any kind.
  StMoE(i64 width, Options options, std::unique_ptr<Experts> experts, Init& init);
  void members(Members& m) override;

  /// The losses of the context, weighted and added: balance_coefficient "load_balancing" + z_coefficient "router_z"; 0
  /// where there are none.
  Tensor auxiliary_loss(const Context& context) const;

  i64 width;
  Options options;
};

/// floor(2/3 hidden_mult width): the hidden size of its feed-forward layers; 0 where that is none.
i64 st_hidden(i64 width, double hidden_mult);
/// Initial weights and biases of st-moe-pytorch: uniform on +-1 / sqrt(outputs).
Tensor st_initial(Init& init, const Shape& shape, i64 outputs);

/// The routing as st-moe-pytorch has it, [G, N, E, C]: for inspection, not for computing with.
Tensor dense_dispatch(const Routing& routing);  ///< 1 where a token has that slot
Tensor dense_combine(const Routing& routing);   ///< the gate there
/// Which choices were taken, with a slot or without: bool [K, G, N].
Tensor taken_choices(const Routing& routing);

}  // namespace moegrad
