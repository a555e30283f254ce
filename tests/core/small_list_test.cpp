#include "core/small_list.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>

using namespace moegrad;

TEST_CASE("SmallList: the same list on both sides of its inline part") {
  SmallList<std::string, 2> list{"a"};
  list.push_back("b");
  list.push_back("c");
  list.push_back("d");
  REQUIRE(list.size() == 4);
  CHECK((list[0] == "a" && list[1] == "b" && list[2] == "c" && list[3] == "d"));
  list[2] = "changed";
  SmallList<std::string, 2> copy = list;
  copy[0] = "copy";
  CHECK((list[0] == "a" && copy[2] == "changed"));
}

TEST_CASE("SmallList: resize adds empty values and lets go of those cut off") {
  SmallList<std::shared_ptr<int>, 2> list;
  const auto kept = std::make_shared<int>(1);
  for (int i = 0; i < 4; ++i) list.push_back(kept);
  CHECK(kept.use_count() == 5);
  list.resize(1);
  CHECK(list.size() == 1);
  CHECK(kept.use_count() == 2);
  list.resize(4);
  CHECK((list.size() == 4 && list[0] == kept && !list[1] && !list[3]));
}

TEST_CASE("SmallList: a list that was moved from is empty") {
  SmallList<std::string, 2> list{"a", "b", "c"};
  const SmallList<std::string, 2> moved = std::move(list);
  CHECK((moved.size() == 3 && moved[2] == "c"));
  CHECK(list.size() == 0);
  list.push_back("new");
  CHECK((list.size() == 1 && list[0] == "new"));
}
