// From the classes in the files to moegrad's layers.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "nn/module.h"
#include "tests/golden/adapters.h"

namespace moegrad::golden {

/// What an adapter is given: all that a layer file says about its layer.
struct LayerFile {
  std::map<std::string, Tensor> inputs;  ///< "x", "mask", "noise", ..; leaves where the file has their gradient
  StateDict parameters;                  ///< and buffers, under their full names
  /// Those of no output: each belongs to a gradient of its own, grad.<name>, which the adapter computes.
  std::map<std::string, Tensor> cotangents;
  Arguments config;  ///< every argument must be read
  bool training;
  std::string variant;  ///< "as-is", "fixed", ..
  DType dtype;
};

/// What an adapter gives: the layer with the file's parameters (none for a function), and its outputs "y", "aux_loss",
/// ..
struct LayerRun {
  std::unique_ptr<Module> layer;
  std::map<std::string, Tensor> outputs;
  std::map<std::string, Tensor> gradients = {};  ///< those that are not of L, by name: grad.<name>
};
using LayerAdapter = std::function<LayerRun(LayerFile& file)>;
using Layers = std::map<std::string, LayerAdapter>;  ///< by class_of
Layers layers();                                     ///< all of these. Throws CaseError: two tables have one class

Layers soft_moe_layers();  // layers_soft_moe.cpp: soft-moe-pytorch
Layers vision_layers();    // layers_vision.cpp: soft-moe
Layers mixtures_layers();  // layers_mixtures.cpp: pytorch-mixtures and the notebook
Layers moefy_layers();     // layers_moefy.cpp
Layers st_moe_layers();    // layers_st_moe.cpp

/// The class whose numbers a layer file holds: "soft-moe-pytorch SoftMoE" of the source "soft-moe-pytorch SoftMoE @
/// ..".
std::string class_of(const Bundle& bundle);
/// Whose formulas they are: "as-is" where the file does not say.
std::string variant_of(const Bundle& bundle);

/// Compares outputs, and the gradients of L = sum over every cotangent.<k> of sum(out.<k> * cotangent.<k>).
/// Throws CaseError: the class is unknown.
void run_layer(Bundle& bundle, const Layers& layers, Comparison& comparison);

}  // namespace moegrad::golden
