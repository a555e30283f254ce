// A list whose first N elements live inside it: gradient rules return one, graph nodes keep their inputs in one.
#pragma once
#include <algorithm>
#include <array>
#include <initializer_list>
#include <utility>
#include <vector>

namespace moegrad {

template <class T, int N> class SmallList {
 public:
  SmallList() = default;
  SmallList(std::initializer_list<T> values) {
    for (const T& v : values) push_back(v);
  }
  SmallList(const SmallList&) = default;
  SmallList& operator=(const SmallList&) = default;
  SmallList(SmallList&& o) noexcept
      : size_(std::exchange(o.size_, 0)), first_(std::move(o.first_)), more_(std::move(o.more_)) {}
  SmallList& operator=(SmallList&& o) noexcept {
    size_ = std::exchange(o.size_, 0);
    first_ = std::move(o.first_);
    more_ = std::move(o.more_);
    return *this;
  }

  void push_back(T value) {
    if (size_ < N)
      at(size_) = std::move(value);
    else
      more_.push_back(std::move(value));
    ++size_;
  }
  /// New values are T{}.
  void resize(int count) {
    for (int i = count; i < std::min(size_, N); ++i) at(i) = T{};
    more_.resize(static_cast<std::size_t>(std::max(count - N, 0)));
    size_ = count;
  }
  int size() const { return size_; }
  T& operator[](int i) { return i < N ? at(i) : more_[static_cast<std::size_t>(i - N)]; }
  const T& operator[](int i) const {
    return i < N ? first_[static_cast<std::size_t>(i)] : more_[static_cast<std::size_t>(i - N)];
  }

 private:
  T& at(int i) { return first_[static_cast<std::size_t>(i)]; }
  int size_ = 0;
  std::array<T, N> first_;
  std::vector<T> more_;
};

}  // namespace moegrad
