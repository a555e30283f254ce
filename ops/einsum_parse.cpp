#include "ops/einsum_parse.h"

#include <fmt/format.h>

#include <optional>

#include "core/print.h"

namespace moegrad {
namespace {

constexpr int kLetters = 52;
constexpr int kEllipsis = -1;  // in a parsed term, before shapes are known

int letter(char c) {
  if (c >= 'a' && c <= 'z') return c - 'a';
  if (c >= 'A' && c <= 'Z') return 26 + c - 'A';
  return -1;
}

// Letters of one operand or of the result, in which the axes of "..." are one entry.
struct TermText {
  InlineList<int> labels;
  int letters() const { return labels.size() - (has_ellipsis() ? 1 : 0); }
  bool has_ellipsis() const { return labels.contains(kEllipsis); }
};

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  void run() {
    inputs.emplace_back();
    for (at_ = 0; at_ < text_.size(); ++at_) step(text_[at_]);
  }
  [[noreturn]] void fail_shape(const std::string& rule) const {
    throw ShapeError(fmt::format("einsum \"{}\": {}", printable(text_), rule));
  }
  void add(TermText& term, int label) const {
    if (term.labels.size() == kMaxRank) fail_shape(fmt::format("a term has at most {} axes", kMaxRank));
    term.labels.push_back(label);
  }

  std::vector<TermText> inputs;
  std::optional<TermText> result;

 private:
  [[noreturn]] void fail() const {
    throw Error(fmt::format("einsum \"{}\": an equation has letters, ',', '...', '->' and spaces; got {} at {}",
                            printable(text_), printable_character(text_[at_]), at_));
  }
  void step(char c) {
    TermText& term = result ? *result : inputs.back();
    if (c == ' ') return;
    if (letter(c) >= 0) {
      add(term, letter(c));
    } else if (c == ',' && !result) {
      inputs.emplace_back();
    } else if (c == '-' && !result && text_.substr(at_, 2) == "->") {
      result.emplace();
      ++at_;
    } else if (c == '.' && !term.has_ellipsis() && text_.substr(at_, 3) == "...") {
      add(term, kEllipsis);
      at_ += 2;
    } else {
      fail();
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

// Axes that "..." stands for in an operand.
int ellipsis_rank(const Parser& p, std::size_t i, const Shape& shape) {
  const TermText& term = p.inputs[i];
  const int rest = shape.rank() - term.letters();
  if (rest < 0 || (rest > 0 && !term.has_ellipsis()))
    p.fail_shape(fmt::format("operand {} must have {}{} axes; got {}", i, term.letters(),
                             term.has_ellipsis() ? " or more" : "", to_string(shape)));
  return rest;
}

void fix_size(const Parser& p, Equation& eq, const std::vector<Shape>& shapes, std::vector<std::pair<int, int>>& from,
              std::size_t i, int axis) {
  const int label = eq.operands[i][axis];
  const i64 n = shapes[i][axis];
  auto& [operand, first_axis] = from[static_cast<std::size_t>(label)];
  i64& size = eq.size[label];
  if (operand < 0 || (size == 1 && n != 1)) {
    size = n;
    operand = static_cast<int>(i), first_axis = axis;
  } else if (n != size && n != 1) {
    p.fail_shape(fmt::format("{} is {} in operand {} {} but {} in operand {} {}",
                             label < kLetters ? fmt::format("letter {}", label_name(label)) : label_name(label), size,
                             operand, to_string(shapes[static_cast<std::size_t>(operand)]), n, i,
                             to_string(shapes[i])));
  }
}

// What the result has where the equation does not say: "...", then letters that occur once, upper case before lower
// case.
TermText implicit_result(const Parser& p) {
  int seen[kLetters] = {};
  bool ellipsis = false;
  for (const TermText& t : p.inputs)
    for (int l : t.labels) l == kEllipsis ? void(ellipsis = true) : void(++seen[l]);
  TermText y;
  if (ellipsis) y.labels.push_back(kEllipsis);
  for (int half : {26, 0})
    for (int l = half; l < half + 26; ++l)
      if (seen[l] == 1) p.add(y, l);
  return y;
}

}  // namespace

std::string label_name(int label) {
  if (label < 26) return fmt::format("'{}'", static_cast<char>('a' + label));
  if (label < kLetters) return fmt::format("'{}'", static_cast<char>('A' + label - 26));
  return fmt::format("axis {} of '...'", label - 64);
}

Equation Equation::parse(std::string_view text, const std::vector<Shape>& shapes) {
  Parser p(text);
  p.run();
  if (p.inputs.size() != shapes.size())
    p.fail_shape(fmt::format("the equation names {} operands; got {}", p.inputs.size(), shapes.size()));

  Equation eq;
  int widest = 0;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    const int rest = ellipsis_rank(p, i, shapes[i]);
    widest = std::max(widest, rest);
    eq.operands.emplace_back();
    for (int l : p.inputs[i].labels) {
      if (l != kEllipsis) eq.operands[i].push_back(l);
      for (int k = 0; l == kEllipsis && k < rest; ++k) eq.operands[i].push_back(64 - rest + k);  // 63 is the rightmost
    }
  }
  std::vector<std::pair<int, int>> from(64, {-1, -1});
  for (std::size_t i = 0; i < shapes.size(); ++i)
    for (int axis = 0; axis < shapes[i].rank(); ++axis) fix_size(p, eq, shapes, from, i, axis);

  const TermText result = p.result ? *p.result : implicit_result(p);
  if (result.letters() + (result.has_ellipsis() ? widest : 0) > kMaxRank)
    p.fail_shape(fmt::format("the result has at most {} axes", kMaxRank));
  for (int l : result.labels) {
    for (int k = 0; l == kEllipsis && k < widest; ++k) eq.result.push_back(64 - widest + k);
    if (l == kEllipsis) continue;
    if (from[static_cast<std::size_t>(l)].first < 0)
      p.fail_shape(fmt::format("letter {} of the result must be in an operand", label_name(l)));
    if (eq.result.contains(l)) p.fail_shape(fmt::format("letter {} must be named once in the result", label_name(l)));
    eq.result.push_back(l);
  }
  return eq;
}

}  // namespace moegrad
