// Shapes, strides and axes: at most kMaxRank integers, stored inline so that making a tensor never allocates for them.
#pragma once
#include <algorithm>
#include <initializer_list>
#include <span>
#include <string>

#include "core/fwd.h"

namespace moegrad {

inline constexpr int kMaxRank = 12;

/// Throws ShapeError: rank above kMaxRank (or below 0).
[[noreturn]] void throw_rank_too_large(i64 rank);

/// A short list of at most kMaxRank values.
template <class T> class InlineList {
 public:
  InlineList() = default;
  InlineList(std::initializer_list<T> values) : InlineList(values.begin(), values.end()) {}
  InlineList(int count, T value) : size_(checked(count)) { std::fill_n(values_, size_, value); }
  template <class It>
  requires(!std::is_arithmetic_v<It>) InlineList(It first, It last) : size_(checked(last - first)) {
    std::copy(first, last, values_);
  }
  explicit InlineList(std::span<const T> values) : InlineList(values.begin(), values.end()) {}
  InlineList(const InlineList& o) : size_(o.size_) { std::copy_n(o.values_, size_, values_); }
  InlineList& operator=(const InlineList& o) {
    size_ = o.size_;
    std::copy_n(o.values_, size_, values_);
    return *this;
  }

  int size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T& operator[](int i) { return values_[i]; }
  T operator[](int i) const { return values_[i]; }
  T& back() { return values_[size_ - 1]; }
  T back() const { return values_[size_ - 1]; }
  T* begin() { return values_; }
  T* end() { return values_ + size_; }
  const T* begin() const { return values_; }
  const T* end() const { return values_ + size_; }

  void push_back(T value) {
    checked(size_ + 1);
    values_[size_++] = value;
  }
  void pop_back() { --size_; }
  void insert(int at, T value) {
    push_back(value);
    std::rotate(values_ + at, values_ + size_ - 1, values_ + size_);
  }
  void erase(int at) {
    std::copy(values_ + at + 1, values_ + size_, values_ + at);
    --size_;
  }
  void resize(int count, T value = {}) {
    checked(count);
    for (int i = size_; i < count; ++i) values_[i] = value;
    size_ = count;
  }
  bool contains(T value) const { return std::find(begin(), end(), value) != end(); }
  /// Position of `value`, or -1.
  int find(T value) const {
    const T* at = std::find(begin(), end(), value);
    return at == end() ? -1 : static_cast<int>(at - begin());
  }
  bool operator==(const InlineList& o) const { return size_ == o.size_ && std::equal(begin(), end(), o.begin()); }

 private:
  static int checked(i64 count) {
    if (count < 0 || count > kMaxRank) throw_rank_too_large(count);
    return static_cast<int>(count);
  }
  int size_ = 0;
  T values_[kMaxRank];
};

/// Axes of a tensor, each in [-rank, rank) where a user gives them and in [0, rank) inside an op.
using Axes = InlineList<int>;

/// Sizes of the axes of a tensor, outermost first; {} is a scalar. Also used for strides, counted in elements.
class Shape : public InlineList<i64> {
 public:
  using InlineList<i64>::InlineList;
  int rank() const { return size(); }
  /// Number of elements: the product of the sizes, 1 for a scalar.
  i64 elements() const {
    i64 n = 1;
    for (i64 d : *this) n *= d;
    return n;
  }
};
using Strides = Shape;

/// Strides of a contiguous tensor: the last axis is 1.
Strides row_major(const Shape& shape);
/// True when elements in logical order lie one after another (axes of size 1 may have any stride), or there are none.
bool is_row_major(const Shape& shape, const Strides& strides);

/// NumPy broadcasting of two shapes. Throws ShapeError: sizes differ and neither is 1.
Shape broadcast(const char* op, const Shape& a, const Shape& b);
/// Does `shape` broadcast to `to`, leaving `to` as it is?
bool broadcasts_to(const Shape& shape, const Shape& to);
/// Strides with which a tensor is read as if it had the larger shape `to`: 0 along broadcast axes.
Strides broadcast_strides(const Shape& shape, const Strides& strides, const Shape& to);

[[noreturn]] void throw_axis(const char* op, const Shape& shape, int axis);
/// Brings `axis` from [-rank, rank) to [0, rank). Throws ShapeError outside that range.
inline int check_axis(const char* op, const Shape& shape, int axis) {
  const int rank = shape.rank();
  if (axis < -rank || axis >= rank) throw_axis(op, shape, axis);
  return axis < 0 ? axis + rank : axis;
}
/// The same for a set of axes, sorted ascending. Throws ShapeError also when one axis is named twice.
Axes check_axes(const char* op, const Shape& shape, const Axes& axes);
/// All axes of a shape, ascending.
Axes all_axes(const Shape& shape);
/// A contiguous tensor as [outer, count, inner] around an axis.
struct AxisBlocks {
  i64 outer = 1, count = 1, inner = 1;
};
AxisBlocks blocks_around(const Shape& shape, int axis);
/// Sizes valid for a new tensor. Throws ShapeError: negative size, or more than 2^62 elements.
void check_sizes(const char* op, const Shape& shape);

/// "[2, 3]"; a scalar is "[]".
std::string to_string(const Shape& shape);
std::string to_string(const Axes& axes);

}  // namespace moegrad
