#include "core/errors.h"

#include <doctest/doctest.h>

#include <type_traits>

using namespace moegrad;

namespace {

template <class E> bool caught_as_error(const char* text) {
  try {
    throw E(text);
  } catch (const Error& e) {
    return std::string(e.what()) == text;
  }
}

}  // namespace

TEST_CASE("errors: every kind is a moegrad::Error and a std::runtime_error, and no kind is another") {
  CHECK(caught_as_error<ShapeError>("shape"));
  CHECK(caught_as_error<DTypeError>("dtype"));
  CHECK(caught_as_error<DeviceError>("device"));
  CHECK(caught_as_error<IndexError>("index"));
  CHECK(caught_as_error<IoError>("io"));
  CHECK(caught_as_error<GradError>("grad"));
  CHECK(caught_as_error<InternalError>("internal"));
  CHECK(std::is_base_of_v<std::runtime_error, Error>);
  CHECK_FALSE(std::is_base_of_v<ShapeError, IndexError>);
  CHECK_FALSE(std::is_base_of_v<GradError, InternalError>);
}
