#include "nn/module.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/autograd.h"
#include "ops/cast.h"

namespace moegrad {

i64 Member::active() const {
  if (!stacked || stack.active < 0 || tensor->dim(0) == 0) return tensor->size();
  return tensor->size() / tensor->dim(0) * std::min(stack.active, tensor->dim(0));
}

void Members::add(std::string_view name, Tensor& tensor, bool trained, bool stacked, Stack options) {
  if (tensor) found_.push_back({prefix_ + std::string(name), &tensor, trained, stacked, options});
}

void Members::child(std::string_view name, Module& module) {
  const std::size_t before = prefix_.size();
  if (!name.empty()) prefix_.append(name).append(".");
  module.members(*this);
  prefix_.resize(before);
}

std::vector<Member> Module::all_members() {
  Members list;
  members(list);
  return std::move(list.found_);
}

std::vector<Member> Module::named_parameters() {
  std::vector<Member> list;
  std::set<const TensorBody*> seen;  // tied weights have two names and are one parameter
  for (Member& m : all_members()) {
    if (!m.trained || !m.tensor->requires_grad() || !seen.insert(&m.tensor->body()).second) continue;
    m.tensor->set_name(m.name);
    list.push_back(std::move(m));
  }
  return list;
}

std::vector<Tensor> Module::parameters() {
  std::vector<Tensor> list;
  for (const Member& m : named_parameters()) list.push_back(*m.tensor);
  return list;
}

void Module::zero_grad() {
  for (const Tensor& p : parameters()) p.zero_grad();
}

// ---- state dictionary

namespace {

std::string numbered(const std::string& pattern, i64 i) {
  const std::size_t at = pattern.find("{}");
  if (at == std::string::npos) throw InternalError(fmt::format("stack: the pattern must hold {{}}; got {}", pattern));
  return pattern.substr(0, at) + std::to_string(i) + pattern.substr(at + 2);
}

// Are these weights of the same layers? Then each layer is shown as a whole, as PyTorch does.
bool beside(const Member& a, const Member& b) {
  return b.stacked && a.tensor->dim(0) == b.tensor->dim(0) &&
         a.name.substr(0, a.name.find("{}")) == b.name.substr(0, b.name.find("{}"));
}

// Layer i of a stack, as a view.
Tensor layer_of(const Member& m, i64 i) {
  const Tensor& x = *m.tensor;
  Shape shape = x.shape();
  Strides strides = x.strides();
  const i64 offset = x.body().offset + i * strides[0];
  shape.erase(0);
  strides.erase(0);
  const int rank = shape.rank();
  if (m.stack.transposed) {
    std::swap(shape[rank - 1], shape[rank - 2]);
    std::swap(strides[rank - 1], strides[rank - 2]);
  }
  return view_of(x, shape, strides, offset);
}

}  // namespace

StateDict Module::state_dict() {
  StateDict state;
  const std::vector<Member> list = all_members();
  for (std::size_t at = 0, end; at < list.size(); at = end) {
    end = at + 1;
    if (!list[at].stacked) {
      const Tensor& x = *list[at].tensor;
      state.push_back({list[at].name, view_of(x, x.shape(), x.strides(), x.body().offset)});
      continue;
    }
    while (end < list.size() && beside(list[at], list[end])) ++end;
    for (i64 i = 0; i < list[at].tensor->dim(0); ++i)
      for (std::size_t m = at; m < end; ++m) state.push_back({numbered(list[m].name, i), layer_of(list[m], i)});
  }
  return state;
}

namespace {

// Made by Init::shapes_only: one element at every position.
bool is_shape_only(const Tensor& x) {
  return x.size() > 1 && !x.is_contiguous() && std::count(x.strides().begin(), x.strides().end(), 0) > 0;
}

}  // namespace

void Module::load_state_dict(const StateDict& values) { copy_state("load_state_dict", state_dict(), values); }

void copy_state(const char* who, const StateDict& to, const StateDict& from) {
  std::map<std::string, const Tensor*> given;
  std::string missing, unknown, different, twice;
  const auto note = [](std::string& list, const std::string& text) { list += (list.empty() ? "" : ", ") + text; };
  for (const NamedTensor& f : from)
    if (!given.emplace(f.name, &f.tensor).second) note(twice, f.name);
  std::set<std::string> wanted;
  for (const NamedTensor& t : to) {
    wanted.insert(t.name);
    const auto at = given.find(t.name);
    if (at == given.end()) {
      note(missing, t.name);
    } else if (at->second->shape() != t.tensor.shape() || at->second->dtype() != t.tensor.dtype()) {
      note(different, fmt::format("{} ({}, wanted {})", t.name, describe(*at->second), describe(t.tensor)));
    } else if (is_shape_only(t.tensor)) {
      note(different, fmt::format("{} (shape only: it was made without values)", t.name));
    }
  }
  for (const NamedTensor& f : from)
    if (!wanted.count(f.name)) note(unknown, f.name);
  if (!missing.empty() || !unknown.empty() || !different.empty() || !twice.empty()) {
    std::string text = fmt::format("{}: names, shapes and dtypes must match; got", who);
    const char* separator = " ";
    const auto part = [&](const char* what, const std::string& list) {
      if (list.empty()) return;
      text += fmt::format("{}{}: {}", separator, what, list);
      separator = "; ";
    };
    part("missing", missing);
    part("unknown", unknown);
    part("different", different);
    part("given twice", twice);
    throw Error(text);
  }
  no_grad guard;
  for (const NamedTensor& t : to) t.tensor.assign(given.at(t.name)->to(t.tensor.device()));
}

// Puts convert(x) in the place of every tensor x that is wanted.
void Module::replace(const std::function<bool(const Tensor&)>& wanted,
                     const std::function<Tensor(const Tensor&)>& convert) {
  std::map<const TensorBody*, Tensor> converted;  // tied weights stay tied
  std::vector<Tensor> before;                     // keeps the old ones alive, so that no address is used twice
  no_grad guard;
  for (const Member& m : all_members()) {
    if (!wanted(*m.tensor)) continue;
    Tensor& now = converted[&m.tensor->body()];
    if (!now) {
      before.push_back(*m.tensor);
      const Tensor& x = *m.tensor;
      const bool one_element = x.size() > 1 && std::count(x.strides().begin(), x.strides().end(), 0) == x.rank();
      now = one_element
                ? view_of(convert(view_of(x, {1}, {1}, x.body().offset)), x.shape(), x.strides(), 0)  // still one
                : convert(x.detach());
      if (m.tensor->requires_grad()) now.requires_grad_();
    }
    *m.tensor = now;
  }
}

void Module::to(DType dtype) {
  if (!is_float(dtype)) throw_dtype("to", kFloats, dtype);
  replace([](const Tensor& x) { return is_float(x.dtype()); }, [=](const Tensor& x) { return cast(x, dtype); });
}

void Module::to(Device device) {
  check_device("to", device);
  replace([=](const Tensor& x) { return x.device() != device; }, [=](const Tensor& x) { return x.to(device); });
}

// ---- sizes

namespace {

template <class Count> i64 count_once(const std::vector<Member>& members, Count count) {
  i64 total = 0;
  std::set<const TensorBody*> seen;
  for (const Member& m : members)
    if (m.trained && seen.insert(&m.tensor->body()).second) total += count(m);
  return total;
}

}  // namespace

i64 Module::parameter_count() {
  return count_once(all_members(), [](const Member& m) { return m.tensor->size(); });
}
i64 Module::active_parameter_count() {
  return count_once(all_members(), [](const Member& m) { return m.active(); });
}

std::string with_commas(i64 n) {
  std::string digits = std::to_string(n);
  for (i64 at = static_cast<i64>(digits.size()) - 3; at > (n < 0 ? 1 : 0); at -= 3)
    digits.insert(static_cast<std::size_t>(at), ",");
  return digits;
}

std::string Module::summary() {
  const std::vector<Member> list = all_members();
  std::size_t name_width = 4, shape_width = 5;
  for (const Member& m : list) {
    name_width = std::max(name_width, m.name.size());
    shape_width = std::max(shape_width, describe(*m.tensor).size());
  }
  std::string text = fmt::format("{:<{}}  {:<{}}  {:>12}\n", "name", name_width, "shape", shape_width, "elements");
  for (const Member& m : list)
    text += fmt::format("{:<{}}  {:<{}}  {:>12}{}\n", m.name, name_width, describe(*m.tensor), shape_width,
                        with_commas(m.tensor->size()), m.trained ? "" : "  (buffer)");
  const i64 total = parameter_count(), active = active_parameter_count();
  text += fmt::format("{} parameters", with_commas(total));
  if (active != total) text += fmt::format(", {} of them active per token", with_commas(active));
  return text + "\n";
}

}  // namespace moegrad
