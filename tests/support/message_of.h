// The text of an error, for checks of a part of it.
#pragma once
#include <functional>
#include <string>

namespace moegrad::test {

/// What an E says that f throws; "nothing was thrown" if nothing was.
template <class E> std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  }
  return "nothing was thrown";
}

}  // namespace moegrad::test
