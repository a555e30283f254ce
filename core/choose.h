// The one place where values decide what happens: top-k, argmax, sort, thresholds, sampling. A choice yields indices
// without a gradient; weights re-enter the graph through a gather. A tape can record the choices of a run, replay them
// in another, and say by how much each was decided.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace moegrad {

/// One decision: what was chosen, and the distance to another outcome.
struct Choice {
  std::string name;
  Tensor indices;
  /// Smallest change of a score that could choose otherwise, in the scores' unit; measured only on request.
  double margin = 0;
  Shape scores;  ///< shape of what was chosen from

  /// "top_k [2, 3]": its name and the shape of its indices.
  std::string text() const;
};

/// The axis along which a choice was made: the first whose size differs between scores and indices; -1 if none does.
int choice_axis(const Shape& scores, const Shape& indices);

/// The choices of a run, in order.
class RouteTape {
 public:
  RouteTape() = default;
  explicit RouteTape(std::vector<Choice> choices) : choices_(std::move(choices)) {}
  const std::vector<Choice>& choices() const { return choices_; }
  void clear() { choices_.clear(); }
  /// Smallest margin of all choices; +infinity if there are none.
  double margin() const;
  /// Names the first choice in which two tapes differ, and where: empty if they agree.
  std::string difference(const RouteTape& other) const;
  /// Its place; -1 if they agree.
  i64 first_difference(const RouteTape& other) const;

 private:
  friend class TapeScope;
  std::vector<Choice> choices_;
};

enum class TapeMode {
  record,   ///< append every choice
  measure,  ///< append every choice with its margin
  replay,   ///< take the choices from the tape, in order, whatever the scores say
  listen,   ///< append every choice, which the scopes outside make (and note, or replay) as if this one were not there
};

/// Puts a tape into every `choose` of this thread for a scope. Scopes nest; the innermost counts.
class TapeScope {
 public:
  TapeScope(RouteTape& tape, TapeMode mode);
  ~TapeScope();
  TapeScope(const TapeScope&) = delete;
  TapeScope& operator=(const TapeScope&) = delete;
  /// Choices replayed so far.
  std::size_t replayed() const { return next_; }

  /// What `choose` asks of the innermost scope.
  struct Question {
    const char* name;
    const Tensor& scores;
    const std::function<Tensor()>& make_indices;
    const std::function<double(const Tensor&)>& margin;
  };
  static Tensor answer(const Question& q);

 private:
  static Tensor answer(TapeScope* scope, const Question& q);
  Tensor next(const Question& q);
  RouteTape& tape_;
  TapeMode mode_;
  std::size_t next_ = 0;
  TapeScope* outer_;
};

/// Indices chosen from `scores`; they have no gradient.
///   make_indices  () -> indices
///   margin        indices -> smallest margin over all rows; called only by a tape that measures
///   Errors        Error: a replayed tape holds another choice at this place (name or shape of the scores), or ends
///                 before
Tensor choose(const char* name, const Tensor& scores, const std::function<Tensor()>& make_indices,
              const std::function<double(const Tensor&)>& margin);

}  // namespace moegrad
