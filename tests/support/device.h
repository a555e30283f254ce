// What tests that run on any default device (MOEGRAD_DEVICE) need to know of it.
#pragma once
#include <doctest/doctest.h>

namespace moegrad::test {

/// Waits for the default device. On a GPU this throws what a kernel found wrong with a value:
///   CHECK_THROWS_WITH_AS((one_hot(index, 3), settle()), bad_value("one_hot: ..; got 3", " at element 1 of index [3]"),
///                        IndexError);
void settle();
/// The text of that error: a kernel reports the value, but not its place.
doctest::String bad_value(const char* text, const char* place);

}  // namespace moegrad::test
