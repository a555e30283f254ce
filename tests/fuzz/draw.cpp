#include "tests/fuzz/draw.h"

#include <algorithm>
#include <cctype>

namespace moegrad::fuzz {
namespace {

using Words = std::vector<std::string>;

std::string joined(const Words& words, const char* between) {
  std::string s;
  for (std::size_t i = 0; i < words.size(); ++i) s += (i ? between : "") + words[i];
  return s;
}

i64 size_of_letter(char c) { return 1 + c % 3; }
constexpr i64 kEllipsisSizes[] = {2, 3};  // of its axes from the left, if it has two

// A space here and there between words.
std::string spaced(const Words& words, Dice& dice) {
  std::string s;
  for (const std::string& w : words) s += (dice.chance(20) ? " " : "") + w;
  return s;
}

// The shape of an einsum term, read leniently: letters, and axes for "...".
Shape shape_of(const std::string& term, int ellipsis_rank, Dice& dice) {
  Shape shape;
  bool dots = false;
  for (char c : term) {
    if (std::isalpha(static_cast<unsigned char>(c)) && shape.rank() < kMaxRank)
      shape.push_back(dice.chance(4) ? 1 : size_of_letter(c));
    if (c != '.' || dots) continue;
    dots = true;
    for (int i = 2 - ellipsis_rank; i < 2 && shape.rank() < kMaxRank; ++i) shape.push_back(kEllipsisSizes[i]);
  }
  return shape;
}

}  // namespace

Call draw_einsum(Dice& dice) {
  Call call{.op = "einsum", .text = {}, .shapes = {}, .sizes = {}, .valid = true};
  const std::string alphabet = "abcdeXYZ";
  std::string seen;
  Words words;
  bool any_ellipsis = false;
  const i64 operands = 1 + dice.below(dice.chance(10) ? 8 : 3);
  for (i64 i = 0; i < operands; ++i) {
    Words term;
    for (i64 n = dice.below(4); n > 0; --n) term.emplace_back(1, dice.pick(alphabet));
    const bool ellipsis = dice.chance(20);
    any_ellipsis |= ellipsis;
    if (ellipsis) term.insert(term.begin() + dice.below(static_cast<i64>(term.size()) + 1), "...");
    for (const std::string& w : term) seen += w[0] == '.' ? "" : w;
    call.shapes.push_back(shape_of(joined(term, ""), static_cast<int>(dice.below(3)), dice));
    if (i > 0) words.emplace_back(",");
    words.insert(words.end(), term.begin(), term.end());
  }
  if (dice.chance(80)) {
    words.emplace_back("->");
    std::sort(seen.begin(), seen.end());
    seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
    Words result;
    for (char c : seen)
      if (dice.chance(50)) result.emplace_back(1, c);
    if (any_ellipsis && dice.chance(70)) result.emplace_back("...");
    dice.shuffle(result);
    words.insert(words.end(), result.begin(), result.end());
  }
  call.text = spaced(words, dice);
  return call;
}

namespace {

const char* const kNames[] = {"a", "b", "c", "h1", "w_2", "Zz"};

// Axes in a random order, some of them joined by parentheses; `groups` receives what each axis of the tensor is made
// of.
std::string side_of(Words axes, bool may_join_ellipsis, Dice& dice, std::vector<Words>& groups) {
  dice.shuffle(axes);
  Words words;
  const auto joinable = [&](std::size_t i) { return may_join_ellipsis || axes[i] != "..."; };
  for (std::size_t i = 0; i < axes.size();) {
    const bool joins = joinable(i) && dice.chance(35);
    const auto most = static_cast<std::size_t>(joins ? 1 + dice.below(3) : 1);
    Words group;
    do group.push_back(axes[i++]);
    while (group.size() < most && i < axes.size() && joinable(i));
    words.push_back(joins ? '(' + joined(group, " ") + ')' : group[0]);
    groups.push_back(group);
    if (!dice.chance(10)) continue;
    words.emplace_back("()");
    groups.emplace_back();
  }
  return joined(words, " ");
}

// The axes that a side has when all of it is taken apart, "()" counted as one. A tensor cannot have more than kMaxRank.
i64 taken_apart(const std::vector<Words>& groups, i64 ellipsis_rank) {
  i64 n = 0;
  for (const Words& g : groups) {
    n += g.empty();
    for (const std::string& axis : g) n += axis == "..." ? ellipsis_rank : 1;
  }
  return n;
}

}  // namespace

Call draw_pattern(Dice& dice) {
  const char* const ops[] = {"rearrange", "reduce", "repeat"};
  Call call{.op = dice.pick(ops), .text = {}, .shapes = {{}}, .sizes = {}, .valid = true};
  Words left, right;
  const bool ellipsis = dice.chance(25);
  for (const char* name : kNames) {
    const bool on_left = dice.chance(50), removed = call.op == "reduce" && dice.chance(40);
    const bool added = !on_left && call.op == "repeat" && dice.chance(30);
    if (on_left || added) call.sizes[name] = 1 + dice.below(3);
    if (on_left) left.emplace_back(name);
    if ((on_left && !removed) || added) right.emplace_back(name);
  }
  if (ellipsis) left.emplace_back("...");
  if (ellipsis && !(call.op == "reduce" && dice.chance(40))) right.emplace_back("...");
  if (dice.chance(20)) left.emplace_back("1");
  if (dice.chance(20)) right.emplace_back("1");
  if (call.op == "reduce" && dice.chance(30)) left.emplace_back("2");
  if (call.op == "repeat" && dice.chance(30)) right.emplace_back("3");
  std::vector<Words> groups, result;
  call.text = side_of(left, false, dice, groups);
  call.text += dice.chance(50) ? " -> " : "->";
  call.text += side_of(right, true, dice, result);
  i64 ellipsis_rank = 0;
  std::vector<i64> shape;
  for (const Words& g : groups) {
    if (g == Words{"..."}) {
      ellipsis_rank = dice.below(3);
      for (i64 n = ellipsis_rank; n > 0; --n) shape.push_back(1 + dice.below(3));
      continue;
    }
    i64 size = 1;
    for (const std::string& a : g) size *= a == "1" || a == "2" ? a[0] - '0' : call.sizes[a];
    shape.push_back(size);
  }
  shape.resize(std::min(shape.size(), std::size_t{kMaxRank}));
  call.shapes[0] = Shape(shape.begin(), shape.end());
  call.valid = taken_apart(groups, ellipsis_rank) <= kMaxRank && taken_apart(result, ellipsis_rank) <= kMaxRank;
  return call;
}

Call draw_pack(Dice& dice) {
  Call call{.op = "pack", .text = {}, .shapes = {}, .sizes = {}, .valid = true};
  Words words;
  std::vector<i64> sizes;
  for (const char* name : kNames)
    if (dice.chance(40)) words.emplace_back(name), sizes.push_back(1 + dice.below(3));
  dice.shuffle(words);
  const i64 star = dice.below(static_cast<i64>(words.size()) + 1);
  words.insert(words.begin() + star, "*");
  call.text = joined(words, dice.chance(20) ? "  " : " ");
  for (i64 n = 1 + dice.below(3); n > 0; --n) {
    Shape shape(sizes.begin(), sizes.begin() + star);
    for (i64 k = dice.below(3); k > 0; --k) shape.push_back(dice.below(4));
    for (auto at = sizes.begin() + star; at != sizes.end(); ++at) shape.push_back(*at);
    call.shapes.push_back(shape);
  }
  return call;
}

void mutate(Call& call, Dice& dice) {
  const std::string characters = "aabZ_.()->,* 0123+\t\xc3\xa9";
  for (i64 n = dice.below(4) * dice.below(2); n > 0; --n) {
    call.valid = false;
    std::string& s = call.text;
    const auto at = static_cast<std::size_t>(dice.below(static_cast<i64>(s.size()) + 1));
    const auto length = static_cast<std::size_t>(1 + dice.below(3));
    switch (dice.below(5)) {
      case 0: s.insert(at, 1, dice.pick(characters)); break;
      case 1: s.erase(at, length); break;
      case 2:
        s.insert(at, s.substr(static_cast<std::size_t>(dice.below(static_cast<i64>(s.size()) + 1)), length));
        break;
      case 3:
        if (at < s.size()) s[at] = dice.pick(characters);
        break;
      default:
        if (!s.empty()) std::swap(s[at % s.size()], s[length * 7 % s.size()]);
    }
  }
  if (dice.chance(5)) {
    call.valid = false;
    Shape& shape = call.shapes[static_cast<std::size_t>(dice.below(static_cast<i64>(call.shapes.size())))];
    if (shape.empty() || dice.chance(20))
      shape.push_back(dice.below(3));
    else
      shape[static_cast<int>(dice.below(shape.rank()))] = dice.below(5);
  }
  if (call.sizes.empty() || !dice.chance(30)) return;
  call.valid = false;
  const auto size = std::next(call.sizes.begin(), dice.below(static_cast<i64>(call.sizes.size())));
  const i64 odd[] = {0, -1, 7, i64{1} << 62, -(i64{1} << 62)};
  if (dice.chance(70))
    call.sizes.erase(size);
  else
    size->second = dice.pick(odd);
}

Call draw_noise(Dice& dice) {
  const char* const ops[] = {"einsum", "rearrange", "reduce", "repeat", "pack"};
  Call call{.op = dice.pick(ops), .text = {}, .shapes = {}, .sizes = {}, .valid = false};
  const std::string alphabet = call.op == "einsum" ? "aabbcdX..,,->- \n\xff"
                               : call.op == "pack" ? "ab_1* *("
                                                   : "aabc12_()...-> >-\t\xc3";
  for (i64 n = dice.below(24); n > 0; --n) {
    if (dice.chance(8)) call.text += "->";
    if (dice.chance(5)) call.text += "...";
    call.text += dice.pick(alphabet);
  }
  const auto terms = 1 + std::count(call.text.begin(), call.text.end(), ',');
  for (i64 i = 0; i < (call.op == "einsum" ? terms : 1); ++i) {
    call.shapes.emplace_back();
    for (i64 k = dice.below(4); k > 0; --k) call.shapes.back().push_back(dice.below(4));
  }
  if (call.op == "einsum" && dice.chance(70)) {  // shapes that fit the letters
    std::size_t begin = 0;
    for (Shape& shape : call.shapes) {
      const std::size_t end = std::min(call.text.find(',', begin), call.text.size());
      const std::string term = call.text.substr(begin, end - begin);
      shape = shape_of(term.substr(0, term.find('-')), static_cast<int>(dice.below(3)), dice);
      begin = end + 1;
    }
  }
  if (dice.chance(30)) call.sizes[dice.pick(kNames)] = dice.below(4);
  return call;
}

}  // namespace moegrad::fuzz
