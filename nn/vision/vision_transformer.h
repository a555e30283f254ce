// The vision transformer of the paper "From sparse to soft mixtures of experts".
#pragma once
#include "nn/moe/soft_moe_wrapper.h"
#include "nn/vision/block.h"
#include "nn/vision/mlp.h"
#include "nn/vision/patch_dropout.h"
#include "nn/vision/patch_embed.h"
#include "nn/vision/weight_init.h"

namespace moegrad {

/// Which blocks hold a mixture: `first` and all later ones, or those listed.
struct MoEBlocks {
  MoEBlocks(i64 first_block) : first(first_block) {}
  MoEBlocks(std::vector<i64> blocks) : listed(std::move(blocks)), is_list(true) {}
  bool contains(i64 block) const;

  i64 first = 0;
  std::vector<i64> listed = {};
  bool is_list = false;
};

enum class GlobalPool {
  none,   ///< the head sees every token: logits [B, S, classes]
  token,  ///< it sees the class token
  avg,    ///< it sees the mean of the other tokens
};

/// y = head(fc_norm(pool(norm(blocks(norm_pre(patches + positions)))))), blocks with a dense Mlp or a Soft MoE of them.
///   Shapes    x [B, in_chans, H, W] -> y [B, num_classes], [B, embed_dim] without a head. S tokens: the class token, if
///             there is one, before (H / patch) (W / patch) patches. It takes part in the mixtures
///   Options   have the names of the project's arguments; rates act in training only
///   Norms     "norm" behind the blocks, or, with fc_norm, "fc_norm" behind the pool; 1e-6 is their eps
///   Initial   weight_init; positions normal with deviation 0.02, the class token with 1e-6, or zeros with skip
///   State     cls_token, pos_embed, patch_embed.proj, norm_pre, blocks.I.{norm1, attn.qkv, attn.q_norm, attn.k_norm,
///             attn.proj, ls1, norm2, mlp, ls2}, norm, fc_norm, head; a mixture's mlp has phi, scale, experts.J.fc1, ..
///   Mask      of the context: hidden, its positions are not tokens
///   Errors    ShapeError: x has other sizes than img_size, num_heads does not divide embed_dim.  Error: a block for
///             mixtures outside [0, depth), no block, global_pool token without a class token, a size or rate out of
///             range
///   Source    arXiv:2308.00951, section 3; An image is worth 16x16 words (2020), arXiv:2010.11929;
///             SoftMoEVisionTransformer of soft-moe
struct SoftMoEVisionTransformer : Layer {
  struct Options {
    i64 num_experts = 128, slots_per_expert = 1;
    std::optional<MoEBlocks> moe_layer_index = {};  ///< not given: the second half of the blocks, as in all presets
    Size2 img_size = 224, patch_size = 16;
    i64 in_chans = 3;
    i64 num_classes = 1000;  ///< 0: no head
    GlobalPool global_pool = GlobalPool::token;
    i64 embed_dim = 768, depth = 12, num_heads = 12;
    double mlp_ratio = 4;  ///< hidden width of Mlp / embed_dim, rounded down
    bool qkv_bias = true, qk_norm = false;
    std::optional<double> init_values = {};  ///< of layer scale; not given: there is none
    bool class_token = true;
    bool no_embed_class = false;       ///< the class token gets no position
    bool pre_norm = false;             ///< a norm before the blocks, and no bias in the patch embedding
    std::optional<bool> fc_norm = {};  ///< not given: with global_pool avg
    double drop_rate = 0;              ///< before the head
    double pos_drop_rate = 0;          ///< behind the positions
    double patch_drop_rate = 0;        ///< share of patches that are left out
    double proj_drop_rate = 0;         ///< of what attention and Mlp give, and of hidden values
    double attn_drop_rate = 0;         ///< of attention weights
    double drop_path_rate = 0;         ///< of the last block; it grows with depth from 0
    bool grad_checkpointing = false;   ///< of each block, keep the input alone for backward (nn/recompute.h)
    WeightInit weight_init = WeightInit::timm;
    NormOptions norm_layer = {};
    Activation act_layer = Activation::gelu;
    bool average_normalized = false;  ///< of the mixtures: see SoftMoEWrapper; true for weights of soft-moe
    /// Makes the dense layers and the experts; an empty function: Mlp, whose experts are batched.
    std::function<std::unique_ptr<Layer>(i64 width, i64 hidden, Init& init)> mlp_layer = {};
  };
  SoftMoEVisionTransformer(Options options, Init& init);

  /// forward_head(forward_features(x)).
  Tensor forward(const Tensor& x, Context& context) const override;
  /// The tokens behind the blocks [B, S, embed_dim], normed unless fc_norm is there.
  Tensor forward_features(const Tensor& x, Context& context) const;
  /// Pool, fc_norm and head; pre_logits: without the head.
  Tensor forward_head(const Tensor& features, Context& context, bool pre_logits = false) const;
  void members(Members& m) override;

  /// Another head, with the initial weights of a Linear; 0 classes: none. Make the optimizer afterwards.
  ///   Errors  Error: num_classes < 0, global_pool token without a class token
  void reset_classifier(i64 num_classes, Init& init, std::optional<GlobalPool> global_pool = {});
  /// Parameters that weight decay should leave alone, beside those of rank 1:
  ///   AdamW optimizer(decay_matrices(vit, 0.05, vit.no_weight_decay()));
  std::vector<std::string> no_weight_decay() const;
  /// The depth of a parameter, for learning rates that fall from layer to layer: 0 for what comes before the blocks,
  /// i + 1 for block i, depth for "norm" too, which goes with the last block, depth + 1 for "fc_norm" and "head". As
  /// group_matcher of soft-moe, but for norm_pre, which that one counts to the last block.
  ///   Errors  Error: the name begins like none of these
  i64 layer_group(std::string_view name) const;

  Options options;
  Tensor cls_token, pos_embed;  // [1, 1, D], [1, S, D]
  PatchEmbed patch_embed;
  Dropout pos_drop, head_drop;
  PatchDropout patch_drop;
  std::unique_ptr<AnyNorm> norm_pre, norm, fc_norm;
  std::vector<std::unique_ptr<VisionBlock>> blocks;
  std::unique_ptr<Linear> head;

 private:
  Tensor with_positions(const Tensor& patches, Context& context) const;
  std::unique_ptr<Layer> make_mlp(i64 block, Init& init) const;
  void make_blocks(Init& init);
};

/// The paper's sizes: options with embed_dim, depth and num_heads set.
using ViTOptions = SoftMoEVisionTransformer::Options;
ViTOptions soft_moe_vit_tiny(ViTOptions options = {});
ViTOptions soft_moe_vit_small(ViTOptions options = {});
ViTOptions soft_moe_vit_base(ViTOptions options = {});
ViTOptions soft_moe_vit_large(ViTOptions options = {});
ViTOptions soft_moe_vit_huge(ViTOptions options = {});

}  // namespace moegrad
