// What mutants are switched by. run.py puts it into its copy of the sources; nothing else includes it.
#pragma once
#include <cstdlib>

#pragma GCC diagnostic ignored "-Wparentheses"
#pragma GCC diagnostic ignored "-Wunused-value"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wextra"

/// The number in the environment variable MOEGRAD_MUTANT; 0: none.
inline const int kActiveMutant = [] {
  const char* const text = std::getenv("MOEGRAD_MUTANT");
  return text ? std::atoi(text) : 0;
}();
inline bool mutant(int number) { return number == kActiveMutant; }

/// -x, or the empty handle where there is no gradient.
template <class T> T negated(const T& x) { return x ? neg(x) : x; }
