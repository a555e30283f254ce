// Atomic functions of a kernel, with the types that CUDA offers them for.
#pragma once
#include <atomic>
#include <concepts>

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

template <class T, class F> T update(T* p, F f) {
  std::atomic_ref<T> value(*p);
  T old = value.load(std::memory_order_relaxed);
  while (!value.compare_exchange_weak(old, f(old), std::memory_order_relaxed)) {
  }
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
