// A record of a run that never grows beyond a bound.
#pragma once
#include <utility>
#include <vector>

#include "core/fwd.h"

namespace moegrad {

/// Entries in order of their steps; where there are more than `most`, neighbours are merged until half of them are left.
/// An entry holds the steps of one stretch: stretches have 2^level steps, begin at multiples of that, and the level
/// rises with the run. What is kept therefore depends on what was added alone, not on when it was written and read back.
///   Entry  default-constructible, with merge(const Entry& later)
template <class Entry> class Thinned {
 public:
  struct Stretch {
    i64 number = 0;  ///< step >> level
    Entry entry;
  };

  Thinned() = default;
  Thinned(int level, std::vector<Stretch> stretches) : level_(level), stretches_(std::move(stretches)) {}

  /// Adds `entry`, that of one step; steps must not fall, and be >= 0.
  void add(i64 step, const Entry& entry, i64 most) {
    append({step >> level_, entry}, stretches_);
    if (static_cast<i64>(stretches_.size()) <= most) return;
    while (static_cast<i64>(stretches_.size()) > most / 2 + 1) thin();
  }
  int level() const { return level_; }
  const std::vector<Stretch>& stretches() const { return stretches_; }

 private:
  static void append(const Stretch& s, std::vector<Stretch>& to) {
    if (to.empty() || to.back().number != s.number)
      to.push_back(s);
    else
      to.back().entry.merge(s.entry);
  }
  void thin() {
    ++level_;
    std::vector<Stretch> merged;
    for (const Stretch& s : stretches_) append({s.number / 2, s.entry}, merged);
    stretches_ = std::move(merged);
  }

  int level_ = 0;
  std::vector<Stretch> stretches_;
};

}  // namespace moegrad
