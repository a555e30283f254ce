#include "ops/pack.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/print.h"
#include "ops/concat.h"
#include "ops/pattern_parse.h"
#include "ops/views.h"

namespace moegrad {
namespace {

// "b * d": named axes before and behind the star.
class StarPattern {
 public:
  StarPattern(const char* op, std::string_view pattern) : op_(op), text_(pattern) {
    for (std::size_t at = 0; at < pattern.size();) {
      const std::size_t end = std::min(pattern.find(' ', at), pattern.size());
      if (end > at) add(pattern.substr(at, end - at));
      at = end + 1;
    }
    const auto star = std::find(words_.begin(), words_.end(), "*");
    if (star == words_.end()) throw_pattern(op_, text_, "a pattern must have one '*'");
    before = static_cast<int>(star - words_.begin());
    after = static_cast<int>(words_.end() - star) - 1;
  }
  int before = 0, after = 0;

  [[noreturn]] void fail(const std::string& rule) const { throw ShapeError(pattern_prefix(op_, text_) + rule); }

  /// The shape of x with `star` in place of the axes that "*" stands for.
  Shape with(const Shape& x, const Shape& star) const {
    if (star.rank() + before + after > kMaxRank)
      fail(fmt::format("a tensor has at most {} axes; got {} for '*'", kMaxRank, to_string(star)));
    Shape y(x.begin(), x.begin() + before);
    for (i64 n : star) y.push_back(n);
    for (int i = x.rank() - after; i < x.rank(); ++i) y.push_back(x[i]);
    return y;
  }

  /// Named axes of tensor i must be as long as those of tensor 0.
  void check_alike(const Shape& first, const Shape& x, std::size_t i) const {
    for (int k = 0; k < before + after; ++k) {
      const auto size = [&](const Shape& s) { return s[k < before ? k : s.rank() - before - after + k]; };
      if (size(x) != size(first))
        fail(fmt::format("'{}' is {} in tensor 0 {} but {} in tensor {} {}",
                         words_[static_cast<std::size_t>(k < before ? k : k + 1)], size(first), to_string(first),
                         size(x), i, to_string(x)));
    }
  }

 private:
  void add(std::string_view word) {
    const char* fault = word == "*" ? nullptr : fault_of_axis_name(word);
    if (fault) throw_pattern(op_, text_, fmt::format("a name must {}; got '{}'", fault, printable(word)));
    if (std::find(words_.begin(), words_.end(), word) != words_.end())
      throw_pattern(op_, text_, fmt::format("an axis must be named once; got '{}' twice", word));
    words_.push_back(word);
    if (words_.size() > static_cast<std::size_t>(kMaxRank)) fail(fmt::format("at most {} axes have room", kMaxRank));
  }

  const char* op_;
  std::string_view text_;
  std::vector<std::string_view> words_;
};

std::string texts(std::span<const Shape> shapes) {
  std::string s;
  for (const Shape& shape : shapes) s += (s.empty() ? "" : ", ") + to_string(shape);
  return shapes.empty() ? "no shapes" : s;
}

// The shapes with their one -1, if there is one, worked out: together they have `size` elements.
std::vector<Shape> complete(const StarPattern& p, std::span<const Shape> wanted, i64 size) {
  std::vector<Shape> shapes(wanted.begin(), wanted.end());
  const auto fail = [&](const char* rule) {
    p.fail(fmt::format("{}; got {} for an axis of size {}", rule, texts(wanted), size));
  };
  i64 rest = size, beside = 1;
  i64* open = nullptr;
  for (Shape& s : shapes) {
    i64 n = 1;
    i64* open_here = nullptr;
    for (i64& d : s) {
      if (d < -1) fail("sizes must be 0 or more, or -1 once");
      if (d == -1 && (open || open_here)) fail("at most one size may be -1");
      if (d == -1)
        open_here = &d;
      else
        n = d != 0 && n > size / d ? size + 1 : n * d;  // more than there is, whatever follows
    }
    if (open_here)
      open = open_here, beside = n;
    else if (n > rest)
      fail("shapes must add up to the axis");
    else
      rest -= n;
  }
  if (!open && rest != 0) fail("shapes must add up to the axis");
  if (open && (beside == 0 || rest % beside != 0)) fail("-1 must stand for one whole number");
  if (open) *open = rest / beside;
  return shapes;
}

}  // namespace

Packed pack(std::span<const Tensor> xs, std::string_view pattern) {
  const StarPattern p("pack", pattern);
  if (xs.empty()) p.fail("there must be at least one tensor; got none");
  Packed packed;
  std::vector<Shape> flat;  // of each tensor, with one axis for those that "*" stands for
  for (std::size_t i = 0; i < xs.size(); ++i) {
    const Shape& shape = xs[i].shape();
    if (shape.rank() < p.before + p.after)
      p.fail(fmt::format("tensor {} must have {} or more axes; got {}", i, p.before + p.after, to_string(shape)));
    p.check_alike(xs[0].shape(), shape, i);
    if (xs[i].dtype() != xs[0].dtype())
      throw DTypeError(fmt::format("{}tensors must have one dtype; got {} and {}", pattern_prefix("pack", pattern),
                                   describe(xs[0]), describe(xs[i])));
    packed.shapes.emplace_back(shape.begin() + p.before, shape.end() - p.after);
    flat.push_back(p.with(shape, {packed.shapes.back().elements()}));
  }
  std::vector<Tensor> parts;
  for (std::size_t i = 0; i < xs.size(); ++i) parts.push_back(reshape(xs[i], flat[i]));
  packed.y = concat(parts, p.before);
  return packed;
}
Packed pack(std::initializer_list<Tensor> xs, std::string_view pattern) {
  return pack(std::span<const Tensor>(xs.begin(), xs.size()), pattern);
}

std::vector<Tensor> unpack(const Tensor& x, std::span<const Shape> wanted, std::string_view pattern) {
  const StarPattern p("unpack", pattern);
  if (x.rank() != p.before + 1 + p.after)
    p.fail(fmt::format("x must have {} axes; got {}", p.before + 1 + p.after, to_string(x.shape())));
  const std::vector<Shape> shapes = complete(p, wanted, x.shape()[p.before]);
  std::vector<i64> sizes;
  for (const Shape& s : shapes) sizes.push_back(s.elements());
  std::vector<Tensor> parts = split(x, sizes, p.before);
  for (std::size_t i = 0; i < parts.size(); ++i) parts[i] = reshape(parts[i], p.with(x.shape(), shapes[i]));
  return parts;
}
std::vector<Tensor> unpack(const Tensor& x, std::initializer_list<Shape> shapes, std::string_view pattern) {
  return unpack(x, std::span<const Shape>(shapes.begin(), shapes.size()), pattern);
}

}  // namespace moegrad
