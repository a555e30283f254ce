#include "ops/pattern_parse.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/errors.h"
#include "core/print.h"

namespace moegrad {
namespace {

using Kind = PatternAxis::Kind;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_word(char c) { return is_digit(c) || is_letter(c) || c == '_' || c == '.'; }

// Reads one side: words, spaces and one level of parentheses.
class SideParser {
 public:
  SideParser(const char* op, std::string_view pattern, const char* side) : op_(op), pattern_(pattern), side_(side) {}

  PatternSide run(std::size_t begin, std::size_t end) {
    for (std::size_t at = begin; at < end;) {
      const std::size_t first = at;
      while (at < end && is_word(pattern_[at])) ++at;
      if (at > first)
        add(std::string(pattern_.substr(first, at - first)));
      else
        punctuation(at++);
    }
    if (open_) fail("'(' must be followed by ')'");
    return std::move(y_);
  }

 private:
  [[noreturn]] void fail(const std::string& rule) const {
    throw_pattern(op_, pattern_, fmt::format("{} on the {} side", rule, side_));
  }

  void punctuation(std::size_t at) {
    switch (pattern_[at]) {
      case ' ': return;
      case '(':
        if (open_) fail("parentheses must not be nested");
        open_ = true;
        y_.groups.push_back({{}, true});
        return;
      case ')':
        if (!open_) fail("')' must follow '('");
        open_ = false;
        return;
      default:
        throw_pattern(op_, pattern_,
                      fmt::format("a pattern has names, numbers, spaces, '(', ')', '...' and one '->'; got {} at {}",
                                  printable_character(pattern_[at]), at));
    }
  }

  void add(std::string word) {
    if (word.find('.') != std::string::npos) return ellipsis(word);
    if (std::all_of(word.begin(), word.end(), is_digit)) return number(std::move(word));
    if (const char* fault = fault_of_axis_name(word)) fail(fmt::format("a name must {}; got '{}'", fault, word));
    if (y_.find(word)) fail(fmt::format("an axis must be named once; got '{}' twice", word));
    put({Kind::name, std::move(word), -1});
  }
  void ellipsis(const std::string& word) {
    if (word != "...") fail(fmt::format("dots must stand in '...', apart from names; got '{}'", word));
    if (y_.has_ellipsis) fail("'...' must stand once; got it twice");
    y_.has_ellipsis = true;
    put({Kind::ellipsis, word, -1});
  }
  void number(std::string word) {
    constexpr i64 kLargest = i64{1} << 62;
    i64 n = 0;
    for (char c : word) {
      if (n > (kLargest - 9) / 10) fail(fmt::format("a number must be below 2^62; got '{}'", word));
      n = 10 * n + (c - '0');
    }
    if (n == 0) fail(fmt::format("a number must be 1 or more; got '{}'", word));
    if (n > 1)
      put({Kind::number, std::move(word), n});
    else if (!open_)
      y_.groups.emplace_back();
  }
  void put(PatternAxis axis) {
    if (!open_) y_.groups.emplace_back();
    y_.groups.back().axes.push_back(std::move(axis));
  }

  const char* op_;
  std::string_view pattern_;
  const char* side_;
  PatternSide y_;
  bool open_ = false;
};

// ---- what the two sides must have in common

class Agreement {
 public:
  Agreement(Pattern::Op op, std::string_view text, const Pattern& p) : op_(op), text_(text), p_(p) {}

  void check() const {
    for (const PatternGroup& g : p_.left.groups)
      if (g.parenthesised && std::any_of(g.axes.begin(), g.axes.end(), [](const auto& a) { return is_ellipsis(a); }))
        fail("'...' must not be inside parentheses on the left side");
    if (p_.right.has_ellipsis && !p_.left.has_ellipsis) fail("'...' must not be on the right side only");
    if (op_ != Pattern::Op::reduce) each(p_.left, [&](const PatternAxis& a) { check_left(a); });
    if (op_ != Pattern::Op::repeat) each(p_.right, [&](const PatternAxis& a) { check_right(a); });
  }

 private:
  [[noreturn]] void fail(const std::string& rule) const { throw_pattern(name(op_), text_, rule); }
  static bool is_ellipsis(const PatternAxis& a) { return a.kind == Kind::ellipsis; }

  template <class Fn> static void each(const PatternSide& side, Fn&& f) {
    for (const PatternGroup& g : side.groups)
      for (const PatternAxis& a : g.axes) f(a);
  }
  // An axis on the left side must go somewhere, unless it is reduced.
  void check_left(const PatternAxis& a) const {
    if (a.kind == Kind::number)
      fail(fmt::format("a number other than 1 on the left side is an axis to reduce; got {}", a.name));
    if (is_ellipsis(a) ? !p_.right.has_ellipsis : !p_.right.find(a.name))
      fail(fmt::format("'{}' is on the left side only; only reduce removes axes", a.name));
  }
  // An axis on the right side must come from somewhere, unless it is repeated.
  void check_right(const PatternAxis& a) const {
    if (a.kind == Kind::number)
      fail(fmt::format("a number other than 1 on the right side is an axis to repeat; got {}", a.name));
    if (a.kind == Kind::name && !p_.left.find(a.name))
      fail(fmt::format("'{}' is on the right side only; only repeat makes axes", a.name));
  }

  Pattern::Op op_;
  std::string_view text_;
  const Pattern& p_;
};

}  // namespace

std::string PatternGroup::text() const {
  std::string s;
  for (const PatternAxis& a : axes) s += (s.empty() ? "" : " ") + a.name;
  return parenthesised || axes.empty() ? '(' + s + ')' : s;
}

const PatternAxis* PatternSide::find(std::string_view wanted) const {
  for (const PatternGroup& g : groups)
    for (const PatternAxis& a : g.axes)
      if (a.kind == Kind::name && a.name == wanted) return &a;
  return nullptr;
}

Pattern Pattern::parse(Op op, std::string_view text) {
  const std::size_t arrow = text.find("->");
  if (arrow == text.npos || text.find("->", arrow + 2) != text.npos)
    throw_pattern(moegrad::name(op), text, "a pattern must have two sides with one '->' between them");
  Pattern p{.left = SideParser(moegrad::name(op), text, "left").run(0, arrow),
            .right = SideParser(moegrad::name(op), text, "right").run(arrow + 2, text.size())};
  Agreement(op, text, p).check();
  return p;
}

const char* name(Pattern::Op op) {
  switch (op) {
    case Pattern::Op::rearrange: return "rearrange";
    case Pattern::Op::reduce: return "reduce";
    case Pattern::Op::repeat: break;
  }
  return "repeat";
}

std::string pattern_prefix(const char* op, std::string_view pattern) {
  return fmt::format("{} \"{}\": ", op, printable(pattern));
}
void throw_pattern(const char* op, std::string_view pattern, const std::string& rule) {
  throw Error(pattern_prefix(op, pattern) + rule);
}

const char* fault_of_axis_name(std::string_view name) {
  const bool word = std::all_of(name.begin(), name.end(), [](char c) { return is_word(c) && c != '.'; });
  if (name.empty() || !word) return "consist of ASCII letters, digits and '_'";
  if (is_digit(name.front())) return "begin with a letter";
  if (name.front() == '_' || name.back() == '_') return "not begin or end with '_'";
  return nullptr;
}

}  // namespace moegrad
