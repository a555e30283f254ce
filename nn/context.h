// What a forward pass needs and yields besides tensors. It is made for one pass and handed through it.
#pragma once
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/observe.h"
#include "core/random.h"
#include "nn/module.h"

namespace moegrad {

/// Distributions of router noise: uniform on [0, 1), standard normal, and Gumbel, -log(-log u).
enum class Noise { uniform, normal, gumbel };
/// -log(-log u), with both logarithms of at least 1e-20.
Tensor gumbel_of_uniform(const Tensor& u);
/// Random numbers of an earlier run, in the order of their use.
struct ReplayedNoise {
  std::vector<Tensor> tensors = {};
  std::size_t used = 0;
};

struct Context;
struct Routing;
/// Sees every routing of a forward pass, with its values and its graph: put into `Context::watch` (nn/inspect/).
class RoutingWatch {
 public:
  virtual ~RoutingWatch() = default;
  /// A mixture decided. The context has the layer's path and mask.
  virtual void routed(const Context& context, const Routing& routing) = 0;
};

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
  Tensor mask;             ///< bool [B, S]: positions that hold a token (padding is false); an empty handle: all do.
                           ///< Routers and soft mixtures leave the others out
  ReplayedNoise replayed;  ///< random numbers to be used in place of drawn ones
  RoutingWatch* watch = nullptr;  ///< told of every routing; what runs again for a gradient is told once

  /// Adds a scalar to the loss of that name.
  void add_loss(const std::string& name, const Tensor& value);
  /// Notes a statistic: record("load", counts) in layer blocks.3.feed_forward is "blocks.3.feed_forward.load".
  void record(const std::string& name, const Tensor& value);
  /// Tells the watch, if there is one, what a mixture decided.
  const Routing& routed(const Routing& routing) const;
  /// The next random draw. Throws Error: there is no random stream.
  Draw draw();
  /// Random numbers without a gradient: the next of `replayed` if it has some left, else drawn.
  ///   Errors  ShapeError, DTypeError: the replayed tensor is another.  Error: there is no random stream
  Tensor noise(Noise kind, const Shape& shape, DType dtype);
  /// The mask as the layer `who` needs it, for rows of this shape; an empty handle if there is none.
  ///   Errors  ShapeError: it has another number of elements.  DTypeError: it is not bool
  Tensor mask_of(const char* who, const Shape& rows) const;
};

/// Hides the mask for a scope: what runs inside sees slots, not positions.
class Unmasked {
 public:
  explicit Unmasked(Context& context) : context_(context), mask_(std::exchange(context.mask, {})) {}
  ~Unmasked() { context_.mask = std::move(mask_); }
  Unmasked(const Unmasked&) = delete;
  Unmasked& operator=(const Unmasked&) = delete;

 private:
  Context& context_;
  Tensor mask_;
};

/// Enters a layer for a scope: `Inside here(context, "blocks", i);`. An empty name leaves just the number.
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
