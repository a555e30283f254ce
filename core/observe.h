// Watching ops as they run. Diagnostics are made of this; while nobody watches, it costs one test per op.
#pragma once
#include <functional>
#include <span>
#include <string>

#include "core/small_list.h"
#include "core/tensor.h"

namespace moegrad {

/// Sees every op of this thread while it lives, in the order in which they run. Observers nest, and all of them are
/// told, the innermost first; what an observer itself runs is told to nobody.
class Observer {
 public:
  Observer();
  virtual ~Observer();
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;

  /// An op made ys of its inputs. `node` says its name and attributes; it is in a graph only where one was wanted.
  virtual void ran(const Node& /*node*/, std::span<const Tensor> /*ys*/, std::span<const Tensor> /*inputs*/) {}
  /// A choice was made (core/choose.h).
  virtual void chose(const char* /*name*/, const Tensor& /*scores*/, const Tensor& /*indices*/) {}
  /// The rule of `node` begins: gradients of its outputs, empty where none came.
  virtual void rule_begins(const Node& /*node*/, std::span<const Tensor> /*dys*/) {}
  /// The rule ended (`dxs` holds one gradient per input, or fewer), or threw (`dxs` is null).
  virtual void rule_ended(const Node& /*node*/, std::span<const Tensor> /*dys*/, const SmallList<Tensor, 3>* /*dxs*/) {}

  /// While it lives, nobody watches: for what is a part of something that is told as a whole.
  class Pause {
   public:
    Pause();
    ~Pause();
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;

   private:
    friend class Observer;
    Observer* innermost_;
  };
  /// Does anybody watch this thread?
  static bool any();
  /// Calls `event` with every observer, for the engine.
  static void tell(const std::function<void(Observer&)>& event);

 private:
  Observer* outer_;
};

/// The name of what runs now, for the texts of diagnostics: nn/context.h sets it to the path of a layer. It keeps a
/// pointer, so `name` must outlive it, and may change meanwhile.
class NameScope {
 public:
  explicit NameScope(const std::string& name);
  ~NameScope();
  NameScope(const NameScope&) = delete;
  NameScope& operator=(const NameScope&) = delete;
  /// The innermost name without a dot at its end; empty outside.
  static std::string current();

 private:
  const std::string* before_;
};

}  // namespace moegrad
