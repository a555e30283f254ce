// Atomic functions of a kernel, with the types that CUDA offers them for. Kernels run on one thread of the host, each
// CUDA thread until it waits: plain code is atomic.
#pragma once
#include <concepts>
#include <cstddef>
#include <type_traits>

namespace cuda_on_cpu {

template <class T, class... Types>
concept one_of = (std::same_as<T, Types> || ...);

template <class T>
concept addable = one_of<T, int, unsigned, unsigned long long, float, double>;
template <class T>
concept comparable = one_of<T, int, unsigned, long long, unsigned long long>;
template <class T>
concept exchangeable = one_of<T, int, unsigned, unsigned long long, float>;
template <class T>
concept swappable = one_of<T, int, unsigned, unsigned long long, unsigned short>;
template <class T>
concept with_bits = one_of<T, int, unsigned, unsigned long long>;

/// For TSan, which must see an atomic access where there is none.
void note_atomic(void* p);
void copy_unseen(void* to, const void* from, std::size_t bytes);

template <class T, class F> T update(T* p, F f) {
#ifdef __SANITIZE_THREAD__
  note_atomic(p);
  T old;
  copy_unseen(&old, p, sizeof old);
  const T next = f(old);
  copy_unseen(p, &next, sizeof next);
#else
  const T old = *p;
  *p = f(old);
#endif
  return old;
}

}  // namespace cuda_on_cpu

template <cuda_on_cpu::addable T> T atomicAdd(T* p, std::type_identity_t<T> v) {
  return cuda_on_cpu::update(p, [v](T old) { return T(old + v); });
}
template <cuda_on_cpu::with_bits T> T atomicSub(T* p, std::type_identity_t<T> v) {
  return cuda_on_cpu::update(p, [v](T old) { return T(old - v); });
}
template <cuda_on_cpu::comparable T> T atomicMax(T* p, std::type_identity_t<T> v) {
  return cuda_on_cpu::update(p, [v](T old) { return old < v ? v : old; });
}
template <cuda_on_cpu::comparable T> T atomicMin(T* p, std::type_identity_t<T> v) {
  return cuda_on_cpu::update(p, [v](T old) { return v < old ? v : old; });
}
template <cuda_on_cpu::with_bits T> T atomicAnd(T* p, std::type_identity_t<T> v) {
  return cuda_on_cpu::update(p, [v](T old) { return T(old & v); });
}
template <cuda_on_cpu::with_bits T> T atomicOr(T* p, std::type_identity_t<T> v) {
  return cuda_on_cpu::update(p, [v](T old) { return T(old | v); });
}
template <cuda_on_cpu::with_bits T> T atomicXor(T* p, std::type_identity_t<T> v) {
  return cuda_on_cpu::update(p, [v](T old) { return T(old ^ v); });
}
template <cuda_on_cpu::exchangeable T> T atomicExch(T* p, std::type_identity_t<T> v) {
  return cuda_on_cpu::update(p, [v](T) { return v; });
}
template <cuda_on_cpu::swappable T> T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> v) {
  return cuda_on_cpu::update(p, [=](T old) { return old == expected ? v : old; });
}
