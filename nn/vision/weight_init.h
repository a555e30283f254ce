// The schemes of initial weights that vision transformers are trained with.
#pragma once
#include "nn/init.h"
#include "nn/module.h"

namespace moegrad {

/// Which initial weights, as timm names them. Linear layers are the matrices "<path>.weight" and their "<path>.bias",
/// also those of batched experts; all other parameters stay as their layers made them.
enum class WeightInit {
  timm,      ///< weights normal with deviation 0.02, biases 0 (timm cuts at +-2, a hundred deviations: never)
  jax,       ///< Glorot's uniform weights, biases 0, but normal with deviation 1e-6 below "mlp"; patch embedding normal
             ///< with deviation 1/sqrt(fan_in), cut at 2.27 deviations, bias 0; the head 0
  jax_nlhb,  ///< as jax, with -log(classes) as bias of the head
  moco,      ///< Glorot's uniform weights, "qkv" as if its three matrices were apart; biases 0
  skip,      ///< as the layers made them: PyTorch's
};
/// "", "jax", "jax_nlhb", "moco", "skip".   Errors  Error: another name
WeightInit weight_init_by_name(std::string_view name);

/// Gives the parameters of a model new values.
///   classes  that the head tells apart, for jax_nlhb
///   Source   An image is worth 16x16 words (2020), arXiv:2010.11929, and its code (jax); An empirical study of training
///            self-supervised vision transformers (2021), arXiv:2104.02057 (moco); init_weights_vit_* of timm
void init_weights(Module& module, WeightInit scheme, i64 classes, Init& init);

}  // namespace moegrad
