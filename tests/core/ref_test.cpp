#include "core/ref.h"

#include <doctest/doctest.h>

#include <utility>

using namespace moegrad;

namespace {

struct Counted {
  int refs = 0;
  static inline int alive = 0;
  Counted() { ++alive; }
  ~Counted() { --alive; }
  static void destroy(Counted* c) { delete c; }
};

}  // namespace

TEST_CASE("Ref: the last handle destroys the object, once") {
  {
    Ref<Counted> a(new Counted);
    CHECK((a && a.unique() && a->refs == 1));
    Ref<Counted> b = a;
    CHECK((a == b && !a.unique() && a->refs == 2));
    Ref<Counted> c = std::move(b);
    CHECK((!b && c == a && a->refs == 2));
    a = {};
    CHECK((!a && c.unique() && Counted::alive == 1));
    auto& same = c;
    c = same;
    CHECK((c.unique() && Counted::alive == 1));
    c = Ref<Counted>(new Counted);
    CHECK(Counted::alive == 1);
  }
  CHECK(Counted::alive == 0);
  CHECK_FALSE(Ref<Counted>{});
  CHECK_FALSE(Ref<Counted>(nullptr).unique());
}
