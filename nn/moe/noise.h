// Noise of routers: what makes tokens try experts that are not their best.
#pragma once
#include "nn/context.h"
#include "nn/init.h"

namespace moegrad {

enum class RouterNoiseKind { none, gumbel, gaussian, jitter, simple };

/// Scores with noise, of which a router takes the best.
struct NoisyScores {
  Tensor logits;         ///< noisy where noise is on
  Tensor probabilities;  ///< softmax(logits); under `simple` the subset: 1 for k of them, 0 for the others
  Tensor deviation;      ///< of gaussian noise, >= 0; an empty handle where there is none
};

/// Noise that a router adds to its scores in training. In evaluation, and for the kind none, scores stay as they are.
///   gumbel    logits = (clean + scale g) / temperature, g of the Gumbel distribution: softmax then has its maximum at e
///             with probability softmax(clean)_e
///   gaussian  logits = clean + scale z (softplus(x weight) + floor), z standard normal: learned
///   jitter    the router's input is multiplied by numbers uniform on [1 - amount, 1 + amount]
///   simple    probabilities = a k-subset drawn with these logits, its gradient that of the marginals
///             (nn/moe/k_subset.h)
///   Shapes    x [.., D], clean [.., E]; weight [D, E], of gaussian noise only
///   Dtypes    clean and x f32 or f64 (routers widen bf16); so are results
///   Mask      none: rows are independent
///   Gradient  of clean and, for gaussian noise, of x and weight; random numbers have none
///   Draws     gumbel, gaussian: shape of clean; jitter: shape of x; simple: [E, ..], as sample_k_subset takes them
///   Errors    Error: temperature, floor, scale or amount out of range
///   Source    gaussian: Outrageously large neural networks (2017), arXiv:1701.06538, equation 4; the floor is that of
///             its authors' code.  gumbel: Categorical reparameterization with Gumbel-softmax (2016), arXiv:1611.01144,
///             equation 2.  jitter: Switch transformers (2021), arXiv:2101.03961, section 2.4.  simple: SIMPLE (2023),
///             arXiv:2210.01941
struct RouterNoise : Module {
  struct Options {
    RouterNoiseKind kind = RouterNoiseKind::none;
    double scale = 1;         ///< of gumbel and gaussian noise
    double temperature = 1;   ///< gumbel
    double floor = 1e-2;      ///< gaussian: least deviation
    double amount = 1e-2;     ///< jitter
    double initial_gain = 0;  ///< gaussian: deviation of the initial weight; 0, the paper's: all zeros
  };
  RouterNoise(i64 width, i64 experts, Options options, Init& init);
  void members(Members& m) override;

  /// The router's input, with jitter or as it is.
  Tensor input(const Tensor& x, Context& context) const;
  /// The scores of that input, noisy or as they are; k is the size of subsets.
  NoisyScores forward(const Tensor& x, const Tensor& clean, i64 k, Context& context) const;
  /// The same in two steps, for scores in another layout (experts that choose tokens): the deviation of gaussian noise
  /// in training, else an empty handle; and the scores, along whose last axis the best are taken.
  Tensor deviation(const Tensor& x, Context& context) const;
  NoisyScores apply(const Tensor& clean, const Tensor& deviation, i64 k, Context& context) const;
  /// The noisy logits alone, without a softmax; those of the kind simple are the clean ones.
  Tensor logits(const Tensor& clean, const Tensor& deviation, Context& context) const;

  Options options;
  Tensor weight;
};

struct LoadOptions {
  /// Noisy scores, as in the paper, or clean ones (moefy's variant, whose numbers are no probabilities of the draw).
  enum class Thresholds { noisy, clean };
  Thresholds thresholds = Thresholds::noisy;
};

/// How many tokens each expert would expect if its own noise were drawn again: a smooth load.
///   load_e = sum over tokens of Phi((clean_e - threshold_e) / deviation_e), Phi of the standard normal; threshold_e is
///   the k-th largest noisy score of the other experts; a deviation below 1e-10 counts as that
///   Shapes    clean, noisy, deviation [G, N, E] -> [G, E]; the number of tokens where k = E
///   Mask      bool [G, N] or an empty handle: masked tokens are no load
///   Gradient  of clean and deviation, and of the scores that are thresholds; any order
///   Choice    which scores are thresholds: top_k; and for clean thresholds "noisy_top_k_load"
///   Errors    ShapeError: shapes differ, k is outside [1, E].  DTypeError: the mask is not bool
///   Source    arXiv:1701.06538, equations 8 to 10
Tensor noisy_top_k_load(const Tensor& clean, const NoisyScores& noisy, i64 k, const Tensor& mask,
                        LoadOptions options = {});

}  // namespace moegrad
