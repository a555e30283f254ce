// What a forward pass needs and yields besides tensors. It is made for one pass and handed through it.
#pragma once
#include <map>
#include <string>

#include "core/observe.h"
#include "core/random.h"
#include "nn/module.h"

namespace moegrad {

/// One forward pass. Layers add to it; the caller reads it afterwards:
///   Context context{.training = true, .random = &random};
///   const Tensor logits = model.forward(tokens, context);  // by itself: C++ might read the losses first
///   Tensor loss = cross_entropy(logits, targets) + 0.01 * context.losses.at("load_balancing");
struct Context {
  bool training = false;                 ///< dropout and router noise are on
  Random* random = nullptr;              ///< where layers take their random draws from; needed in training
  std::map<std::string, Tensor> losses;  ///< auxiliary losses by name, each summed over the layers that add it
  StateDict records;                     ///< statistics without a gradient, under the path of their layer
  std::string path;                      ///< of the layer that runs now: "blocks.3.feed_forward."

  /// Adds a scalar to the loss of that name.
  void add_loss(const std::string& name, const Tensor& value);
  /// Notes a statistic: record("load", counts) in layer blocks.3.feed_forward is "blocks.3.feed_forward.load".
  void record(const std::string& name, const Tensor& value);
  /// The next random draw. Throws Error: there is no random stream.
  Draw draw();
};

/// Enters a layer for a scope: `Inside here(context, "blocks", i);`
class Inside {
 public:
  Inside(Context& context, std::string_view name, i64 number = -1);
  ~Inside();
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;

 private:
  Context& context_;
  std::size_t before_;
  NameScope name_;  // diagnostics name the layer
};

}  // namespace moegrad
