#include "core/choose.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/autograd.h"
#include "core/observe.h"

namespace moegrad {
namespace {
thread_local TapeScope* current = nullptr;
}

double RouteTape::margin() const {
  double least = std::numeric_limits<double>::infinity();
  for (const Choice& c : choices_) least = std::min(least, c.margin);
  return least;
}

int choice_axis(const Shape& scores, const Shape& indices) {
  if (scores.rank() != indices.rank()) return -1;
  for (int a = 0; a < scores.rank(); ++a)
    if (scores[a] != indices[a]) return a;
  return -1;
}
std::string Choice::text() const { return fmt::format("{} {}", name, to_string(indices.shape())); }

std::string RouteTape::difference(const RouteTape& other) const {
  const i64 at = first_difference(other);
  if (at < 0) return {};
  const auto i = static_cast<std::size_t>(at);
  if (i >= choices_.size() || i >= other.choices_.size())
    return fmt::format("{} choices and {}", choices_.size(), other.choices_.size());
  const Choice &a = choices_[i], &b = other.choices_[i];
  if (a.text() != b.text()) return fmt::format("choice {}: {} and {}", i, a.text(), b.text());
  const auto p = a.indices.to_vector<i64>(), q = b.indices.to_vector<i64>();
  const auto k = static_cast<std::size_t>(std::mismatch(p.begin(), p.end(), q.begin()).first - p.begin());
  return fmt::format("choice {} ({}): element {} is {} and {}", i, a.text(), k, p[k], q[k]);
}

i64 RouteTape::first_difference(const RouteTape& other) const {
  const std::size_t both = std::min(choices_.size(), other.choices_.size());
  for (std::size_t i = 0; i < both; ++i) {
    const Choice &a = choices_[i], &b = other.choices_[i];
    if (a.name != b.name || a.indices.shape() != b.indices.shape() ||
        a.indices.to_vector<i64>() != b.indices.to_vector<i64>())
      return static_cast<i64>(i);
  }
  return choices_.size() == other.choices_.size() ? -1 : static_cast<i64>(both);
}

TapeScope::TapeScope(RouteTape& tape, TapeMode mode) : tape_(tape), mode_(mode), outer_(std::exchange(current, this)) {}
TapeScope::~TapeScope() { current = outer_; }

// The next choice of a replayed tape.
Tensor TapeScope::next(const Question& q) {
  const std::size_t at = next_++;
  if (at >= tape_.choices_.size())
    throw Error(fmt::format("{}: the replayed tape must have a choice for every call; it ends after {}", q.name,
                            tape_.choices_.size()));
  const Choice& c = tape_.choices_[at];
  if (c.name != q.name || c.scores != q.scores.shape())
    throw Error(
        fmt::format("{}: the replayed tape must hold this choice, from scores {}; got {} from scores {} at place {}",
                    q.name, to_string(q.scores.shape()), c.name, to_string(c.scores), at));
  return c.indices;
}

Tensor TapeScope::answer(TapeScope* scope, const Question& q) {
  if (!scope) return q.make_indices();
  if (scope->mode_ == TapeMode::replay) return scope->next(q);
  const Tensor indices = scope->mode_ == TapeMode::listen ? answer(scope->outer_, q) : q.make_indices();
  double least = 0;
  if (scope->mode_ == TapeMode::measure)
    least = q.scores.size() > 0 ? q.margin(indices) : std::numeric_limits<double>::infinity();
  if (std::isnan(least)) least = 0;  // NaN scores decide nothing
  scope->tape_.choices_.push_back({q.name, indices, least, q.scores.shape()});
  return indices;
}
Tensor TapeScope::answer(const Question& q) { return answer(current, q); }

Tensor choose(const char* name, const Tensor& scores, const std::function<Tensor()>& make_indices,
              const std::function<double(const Tensor&)>& margin) {
  no_grad guard;
  const Tensor indices = [&] {
    Observer::Pause choice_is_told_as_a_whole;
    return TapeScope::answer({name, scores, make_indices, margin});
  }();
  if (Observer::any()) Observer::tell([&](Observer& o) { o.chose(name, scores, indices); });
  return indices;
}

}  // namespace moegrad
