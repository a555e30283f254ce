#include "core/observe.h"

#include <utility>

namespace moegrad {
namespace {
thread_local Observer* innermost = nullptr;
thread_local const std::string* scope_name = nullptr;
}  // namespace

Observer::Observer() : outer_(std::exchange(innermost, this)) {}
Observer::~Observer() { innermost = outer_; }
bool Observer::any() { return innermost != nullptr; }

Observer::Pause::Pause() : innermost_(std::exchange(innermost, nullptr)) {}
Observer::Pause::~Pause() { innermost = innermost_; }

void Observer::tell(const std::function<void(Observer&)>& event) {
  const Pause unwatched;
  for (Observer* o = unwatched.innermost_; o; o = o->outer_) event(*o);
}

NameScope::NameScope(const std::string& name) : before_(std::exchange(scope_name, &name)) {}
NameScope::~NameScope() { scope_name = before_; }
std::string NameScope::current() {
  if (!scope_name) return {};
  return scope_name->ends_with('.') ? scope_name->substr(0, scope_name->size() - 1) : *scope_name;
}

}  // namespace moegrad
