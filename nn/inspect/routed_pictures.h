// Texts and images under the colours of the experts that worked on them.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "nn/inspect/figures.h"
#include "nn/inspect/routing_map.h"

namespace moegrad {

/// A text as the experts of every layer share it: the maps of one forward pass over one sequence, or over several one
/// after the other.
///   characters  one entry per token
///   Layers      those that have more than one expert and route exactly these tokens; others are left out (such as a
///               mixture inside a mixture of depths, which sees some tokens only)
RoutedText routed_text(const std::string& title, const std::vector<std::string>& characters,
                       const std::vector<RoutingMap>& maps);

/// How a model cuts an image into tokens: patches row by row.
struct PatchGrid {
  i64 rows = 1, columns = 1;
  i64 first = 0;  ///< tokens before the patches: 1 for a class token
};
/// How values become colours.
struct PictureOptions {
  std::vector<std::string> captions = {};        ///< one per image, or none
  std::optional<double> black = {}, white = {};  ///< not given: the picture's own least and greatest value
};

/// Images and the expert of every patch, for every layer: the maps of one forward pass over these images.
///   Shapes   images [B, C, H, W], C 1 (grey) or 3 (red, green, blue), any floating dtype
///   Layers   those that have more than one expert and route B (first + rows columns) tokens; others are left out
///   Errors   ShapeError: images are not [B, 1 or 3, H, W].  Error: a grid without patches, captions that are not B
RoutedImages routed_images(const std::string& title, const Tensor& images, const PatchGrid& grid,
                           const std::vector<RoutingMap>& maps, const PictureOptions& options = {});

/// The same for any model that takes images and a context: image_through_experts of moefy, for all layers at once. The
/// forward pass is that of an evaluation, without a graph.
RoutedImages image_through_experts(const Layer& model, const Tensor& images, const PatchGrid& grid,
                                   const PictureOptions& options = {});

/// Which tokens pass which layer of a model with mixtures of depths, and with which gate.
///   tokens  their texts, in order
///   Layers  those with one expert that see all these tokens (nn/moe/mod_layer.h); others are left out
DepthMap depth_map(const std::string& title, const std::vector<std::string>& tokens,
                   const std::vector<RoutingMap>& maps);

}  // namespace moegrad
