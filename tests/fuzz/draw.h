// Random equations and patterns, valid by construction, and what mutation makes of them.
#pragma once
#include <map>
#include <random>
#include <string>
#include <vector>

#include "core/shape.h"

namespace moegrad::fuzz {

/// The random numbers of one case: they depend on the seed and the number of the case only.
class Dice {
 public:
  Dice(u64 seed, u64 number) : engine_(seed * 0x9e3779b97f4a7c15 + number) {}
  i64 below(i64 n) { return static_cast<i64>(engine_() % static_cast<u64>(n)); }
  bool chance(int percent) { return below(100) < percent; }
  template <class List> const auto& pick(const List& list) {
    return list[static_cast<std::size_t>(below(static_cast<i64>(std::size(list))))];
  }
  template <class T> void shuffle(std::vector<T>& list) {
    for (std::size_t i = list.size(); i > 1; --i)
      std::swap(list[i - 1], list[static_cast<std::size_t>(below(static_cast<i64>(i)))]);
  }

 private:
  std::mt19937_64 engine_;
};

/// A call: of einsum with a tensor per shape, of rearrange, reduce or repeat with one tensor and sizes, of pack with
/// tensors.
struct Call {
  std::string op, text;
  std::vector<Shape> shapes;
  std::map<std::string, i64> sizes;
  bool valid = false;  ///< by construction
};

Call draw_einsum(Dice& dice);
Call draw_pattern(Dice& dice);
Call draw_pack(Dice& dice);
/// Some characters dropped, doubled, swapped, replaced or taken from another text; often none.
void mutate(Call& call, Dice& dice);
/// Random characters of the language, with shapes that could fit, and a few that never do.
Call draw_noise(Dice& dice);

}  // namespace moegrad::fuzz
