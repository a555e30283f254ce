// How elements are put in order, for the kernels of ops/sort.h.
//
// An element becomes an entry (key, index) whose order as unsigned numbers is the order that is asked for, ties
// included. No two entries are equal, so every correct algorithm gives the same result, however threads share the work.
#pragma once
#include <limits>
#include <type_traits>

#include "core/dtype.h"
#include "core/math.h"

namespace moegrad::detail {

template <class X> MOEGRAD_HD inline auto sort_key(X stored, bool descending) {
  const Computed<X> v = convert<Computed<X>>(stored);
  using Key = std::conditional_t<sizeof(v) == 8, u64, u32>;
  constexpr Key kSign = Key{1} << (8 * sizeof(Key) - 1);
  Key key;
  if constexpr (kIsFloat<X>) {
    const Key bits = math::bits(v + 0);                               // -0 + 0 is 0
    const Key flip = (~(bits >> (8 * sizeof(Key) - 1)) + 1) | kSign;  // negative: every bit; else the sign alone
    key = v != v ? ~Key{0} : bits ^ flip;
  } else {
    key = std::is_same_v<X, bool> ? static_cast<Key>(v) : static_cast<Key>(v) ^ kSign;
  }
  return descending ? static_cast<Key>(~key) : key;
}

/// Key and index in one number where they fit: keys of 32 bits, rows of less than 2^32 elements.
struct NarrowEntry {
  u64 bits;
  NarrowEntry() = default;
  MOEGRAD_HD NarrowEntry(u64 key, i64 index) : bits(key << 32 | static_cast<u64>(index)) {}
  MOEGRAD_HD static NarrowEntry last() { return {0xffffffffu, 0xffffffff}; }
  MOEGRAD_HD i64 index() const { return static_cast<i64>(bits & 0xffffffffu); }
  MOEGRAD_HD bool operator<(const NarrowEntry& o) const { return bits < o.bits; }
};
struct WideEntry {
  u64 key;
  i64 at;
  WideEntry() = default;
  MOEGRAD_HD WideEntry(u64 k, i64 index) : key(k), at(index) {}
  MOEGRAD_HD static WideEntry last() { return {~u64{0}, std::numeric_limits<i64>::max()}; }
  MOEGRAD_HD i64 index() const { return at; }
  MOEGRAD_HD bool operator<(const WideEntry& o) const { return key != o.key ? key < o.key : at < o.at; }
};

/// Element i of a row.
template <class Entry, class X> MOEGRAD_HD inline Entry entry_of(const X* row, i64 i, bool descending) {
  return Entry(sort_key(row[i], descending), i);
}

}  // namespace moegrad::detail
