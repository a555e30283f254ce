// A list whose first N elements live inside it: gradient rules return one, graph nodes keep their inputs in one.
#pragma once
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
  void push_back(T value) {
    if (size_ < N)
      first_[size_] = std::move(value);
    else
      more_.push_back(std::move(value));
    ++size_;
  }
  void resize(int count) {
    if (count > N) more_.resize(static_cast<std::size_t>(count - N));
    size_ = count;
  }
  int size() const { return size_; }
  T& operator[](int i) { return i < N ? first_[i] : more_[static_cast<std::size_t>(i - N)]; }
  const T& operator[](int i) const { return i < N ? first_[i] : more_[static_cast<std::size_t>(i - N)]; }

 private:
  int size_ = 0;
  T first_[N];
  std::vector<T> more_;
};

}  // namespace moegrad
