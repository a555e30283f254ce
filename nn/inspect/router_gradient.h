// The anatomy of a router's gradient: which loss pulls where, and what the noise adds.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "nn/inspect/history.h"
#include "nn/module.h"

namespace moegrad {

/// One summand of a gradient.
struct GradientPart {
  std::string name;  ///< "task", the name of an auxiliary loss, or "noise"
  Tensor grad;
  double norm = 0;  ///< Euclidean
};

/// The gradient of one parameter.
struct RouterGradient {
  std::string parameter;
  std::vector<GradientPart> parts;  ///< their sum is `total`
  Tensor total;                     ///< gradient of the total loss, noise included, from a backward pass of its own
  double norm = 0;

  /// Throws Error: there is no such part.
  const GradientPart& part(const std::string& name) const;
  /// Between two parts in degrees: 0 where they pull the same way, 90 where they do not touch each other, 180 where they
  /// fight; kNoValue where one of them is 0.
  double angle(const std::string& a, const std::string& b) const;
};

struct RouterGradientOptions {
  /// Parameters to look at; '*' stands for any text, '?' for one character.
  std::string parameters = "*router*";
  /// Weight of every auxiliary loss of the total, by name; those that are not named are no part of it.
  std::map<std::string, double> weights = {};
  bool noise = true;  ///< false: parts are those of the noisy pass, and there is no part "noise"
};

/// Splits d(total)/dw, total = task + sum over auxiliary losses of weight loss, for parameters w of the model:
///   task, losses  gradients of a pass whose routers are quiet (nn/moe/quiet_routers.h)
///   noise         gradient with noise minus that, over all losses: what noise adds by other routes, by other gates, and
///                 through a learned deviation. The random numbers of dropout are the same in both passes
///   pass    runs the model on one batch, with that context, and returns the task's loss. It is called twice, once
///           without `noise`, and must do the same each time: take no random numbers but those of the context
///   random  as it stands before the step; it is not moved
///   Cost    a forward pass, and a backward pass per loss, for either; parameters' own gradients stay as they are
///   Errors  Error: no parameter has such a name, a loss with a weight was not added to the context.  ShapeError: the
///           loss is no scalar
std::vector<RouterGradient> router_gradients(Module& model, const Random& random,
                                             const std::function<Tensor(Context&)>& pass,
                                             const RouterGradientOptions& options = {});

/// One row per parameter and part: norm, share of the total's, angles to the task and to the total.
Table router_gradient_table(const std::vector<RouterGradient>& gradients);

/// Norms and angles over the steps of a run; small and continuable as all histories are (nn/inspect/history.h).
class RouterGradientHistory {
 public:
  void add(i64 step, const std::vector<RouterGradient>& gradients);
  std::vector<std::string> parameters() const;
  /// Norms of the parts and of the total, on a logarithmic axis.
  LineChart norms(const std::string& parameter) const;
  /// Angles between each two parts, beside 90 degrees.
  LineChart angles(const std::string& parameter) const;

  std::string text() const { return history_.text(); }
  static RouterGradientHistory from_text(const std::string& text);

 private:
  LineChart chart(const std::string& parameter, const char* kind) const;
  ScalarHistory history_;  // names are parameter, kind and what, with tabs between
};

}  // namespace moegrad
