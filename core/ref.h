// An owning pointer with the count inside the object. The count is not atomic: a tensor and its graph belong to one
// thread, which makes copying a handle cost one addition.
#pragma once
#include <utility>

namespace moegrad {

/// T has an int member `refs` that starts at 0 and a static `void destroy(T*)`.
template <class T> class Ref {
 public:
  Ref() = default;
  explicit Ref(T* p) : p_(p) { retain(); }
  Ref(const Ref& o) : p_(o.p_) { retain(); }
  Ref(Ref&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  Ref& operator=(Ref o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  ~Ref() {
    if (p_ && --p_->refs == 0) T::destroy(p_);
  }

  T* get() const { return p_; }
  T& operator*() const { return *p_; }
  T* operator->() const { return p_; }
  explicit operator bool() const { return p_ != nullptr; }
  /// True when no other handle shares the object.
  bool unique() const { return p_ && p_->refs == 1; }
  bool operator==(const Ref&) const = default;

 private:
  void retain() {
    if (p_) ++p_->refs;
  }
  T* p_ = nullptr;
};

}  // namespace moegrad
