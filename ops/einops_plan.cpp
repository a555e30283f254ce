#include "ops/einops_plan.h"

#include <fmt/format.h>

#include <vector>

#include "core/errors.h"
#include "core/print.h"

namespace moegrad {
namespace {

constexpr i64 kUnknown = -1;
constexpr i64 kMostElements = i64{1} << 62;

// Never overflows: everything above kMostElements is alike.
i64 multiply(i64 a, i64 b) {
  if (a == 0 || b == 0) return 0;
  return a > kMostElements / b ? kMostElements + 1 : a * b;
}

// An elementary axis: of the left side in its order, then those that repeat makes.
struct Elementary {
  std::string name;  // empty for an axis of "..." and for a number
  i64 size = kUnknown;
};

class Planner {
 public:
  Planner(Pattern::Op op, std::string_view text, const Shape& shape, std::span<const AxisSize> sizes)
      : op_(op), text_(text), shape_(shape), sizes_(sizes), p_(Pattern::parse(op, text)) {}

  EinopsPlan run() {
    check_sizes_given();
    check_rank();
    split_left();
    group_right();
    for (std::size_t i = 0; i < left_.size(); ++i) solve(static_cast<int>(i));
    for (std::size_t i = left_count_; i < axes_.size(); ++i)
      if (axes_[i].size == kUnknown) fail_shape(fmt::format("the size of '{}' must be given", axes_[i].name));
    return plan();
  }

 private:
  using Group = std::vector<std::size_t>;  // into axes_

  [[noreturn]] void fail(const std::string& rule) const { throw_pattern(name(op_), text_, rule); }
  [[noreturn]] void fail_shape(const std::string& rule) const {
    throw ShapeError(fmt::format("{}{}; got x {}", pattern_prefix(name(op_), text_), rule, moegrad::to_string(shape_)));
  }

  void check_sizes_given() const {
    for (std::size_t i = 0; i < sizes_.size(); ++i) {
      const auto& [axis, size] = sizes_[i];
      if (!p_.left.find(axis) && !p_.right.find(axis))
        fail(fmt::format("sizes must be given for axes of the pattern; got '{}'", printable(axis)));
      if (size < 0) fail(fmt::format("sizes must be 0 or more; got {} for '{}'", size, axis));
      for (std::size_t j = 0; j < i; ++j)
        if (sizes_[j].name == axis) fail(fmt::format("sizes must be given once; got two for '{}'", axis));
    }
  }
  void check_rank() const {
    const auto named = static_cast<i64>(p_.left.groups.size()) - (p_.left.has_ellipsis ? 1 : 0);
    if (shape_.rank() < named || (shape_.rank() > named && !p_.left.has_ellipsis))
      fail_shape(fmt::format("x must have {}{} {}", named, p_.left.has_ellipsis ? " or more" : "",
                             named == 1 && !p_.left.has_ellipsis ? "axis" : "axes"));
  }

  std::size_t add(const PatternAxis& a) {
    Elementary e{a.kind == PatternAxis::Kind::name ? a.name : std::string{}, a.size};
    for (const AxisSize& s : sizes_)
      if (s.name == e.name) e.size = s.size;
    axes_.push_back(std::move(e));
    return axes_.size() - 1;
  }
  std::size_t position(const std::string& axis) const {
    std::size_t i = 0;
    while (axes_[i].name != axis) ++i;
    return i;
  }

  void split_left() {
    int at = 0;
    for (const PatternGroup& g : p_.left.groups) {
      if (g.is_ellipsis()) {
        const int rank = shape_.rank() - static_cast<int>(p_.left.groups.size()) + 1;
        for (int i = 0; i < rank; ++i) {
          ellipsis_.push_back(axes_.size());
          left_.push_back({axes_.size()});
          left_text_.push_back("...");
          axes_.push_back({{}, shape_[at++]});
        }
        continue;
      }
      left_.emplace_back();
      left_text_.push_back(g.text());
      for (const PatternAxis& a : g.axes) left_.back().push_back(add(a));
      ++at;
    }
    left_count_ = axes_.size();
  }

  void group_right() {
    for (const PatternGroup& g : p_.right.groups) {
      if (!g.is_ellipsis()) right_.emplace_back();
      for (const PatternAxis& a : g.axes) {
        if (a.kind != PatternAxis::Kind::ellipsis) {
          const bool is_new = a.kind == PatternAxis::Kind::number || !p_.left.find(a.name);
          right_.back().push_back(is_new ? add(a) : position(a.name));
        } else if (g.is_ellipsis()) {
          for (std::size_t e : ellipsis_) right_.push_back({e});
        } else {
          right_.back().insert(right_.back().end(), ellipsis_.begin(), ellipsis_.end());
        }
      }
    }
  }

  // The sizes of the elementary axes of one axis of x.
  void solve(int at) {
    const Group& group = left_[static_cast<std::size_t>(at)];
    const i64 size = shape_[at];
    i64 known = 1;
    std::vector<std::size_t> unknown;
    for (std::size_t e : group)
      axes_[e].size == kUnknown ? unknown.push_back(e) : void(known = multiply(known, axes_[e].size));
    const std::string& text = left_text_[static_cast<std::size_t>(at)];
    if (unknown.size() > 1)
      fail_shape(fmt::format("all sizes but one must be given for '{}', which is axis {}", text, at));
    if (unknown.empty() && known != size)
      fail_shape(fmt::format("'{}' is {} but axis {} is {}", text, known, at, size));
    if (unknown.empty()) return;
    if (known == 0 || size % known != 0)
      fail_shape(
          fmt::format("axis {} must be divisible by the sizes given for '{}'; {} is not by {}", at, text, size, known));
    axes_[unknown[0]].size = size / known;
  }

  // Sizes of 0 do not hide a product that is too large for the other sizes.
  void check_elements(const Shape& sizes) const {
    i64 n = 1;
    for (i64 size : sizes) n = multiply(n, std::max<i64>(size, 1));
    if (n > kMostElements) fail_shape("the sizes must give at most 2^62 elements");
  }

  EinopsPlan plan() const {
    EinopsPlan y;
    std::vector<std::size_t> right;
    for (const Group& g : right_) right.insert(right.end(), g.begin(), g.end());
    const std::size_t most = std::max({left_count_, right.size(), right_.size()});
    if (most > static_cast<std::size_t>(kMaxRank))
      fail_shape(fmt::format("a side must have at most {} elementary axes, and has {}", kMaxRank, most));

    InlineList<int> place;  // left axis -> its axis after the reduction, or -1
    int next = 0;
    for (std::size_t i = 0; i < left_count_; ++i) {
      const bool stays = std::find(right.begin(), right.end(), i) != right.end();
      y.split.push_back(axes_[i].size);
      place.push_back(stays ? next++ : -1);
      if (!stays) y.reduced.push_back(static_cast<int>(i));
    }
    for (std::size_t e : right) {
      const bool is_new = e >= left_count_;
      if (!is_new) y.order.push_back(place[static_cast<int>(e)]);
      y.spread.push_back(is_new ? 1 : axes_[e].size);
      y.repeated.push_back(axes_[e].size);
    }
    check_elements(y.split);
    check_elements(y.repeated);
    for (const Group& g : right_) {
      i64 n = 1;
      for (std::size_t e : g) n = multiply(n, axes_[e].size);
      y.result.push_back(n);
    }
    return y;
  }

  Pattern::Op op_;
  std::string_view text_;
  const Shape& shape_;
  std::span<const AxisSize> sizes_;
  Pattern p_;
  std::vector<Elementary> axes_;
  std::size_t left_count_ = 0;
  std::vector<std::size_t> ellipsis_;
  std::vector<Group> left_, right_;
  std::vector<std::string> left_text_;
};

}  // namespace

EinopsPlan EinopsPlan::make(Pattern::Op op, std::string_view pattern, const Shape& shape,
                            std::span<const AxisSize> sizes) {
  return Planner(op, pattern, shape, sizes).run();
}

}  // namespace moegrad
