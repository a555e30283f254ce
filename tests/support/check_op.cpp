#include "tests/support/check_op.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <random>

#include "core/structure.h"
#include "ops/arithmetic.h"
#include "ops/autodiff/gradcheck.h"
#include "ops/cast.h"
#include "ops/slice.h"
#include "ops/views.h"
#include "tests/support/coverage.h"

namespace moegrad::test {

Input Input::fixed(const Tensor& t) {
  Input in(t.shape());
  in.values = t;
  in.differentiable = false;
  return in;
}
Input Input::at(const Tensor& t) {
  Input in(t.shape());
  in.values = t;
  return in;
}

void for_each_index(const Shape& shape, const std::function<void(const std::vector<i64>&)>& visit) {
  std::vector<i64> at(static_cast<std::size_t>(shape.rank()), 0);
  for (i64 n = shape.elements(); n > 0; --n) {
    visit(at);
    for (int i = shape.rank() - 1; i >= 0 && ++at[static_cast<std::size_t>(i)] == shape[i]; --i)
      at[static_cast<std::size_t>(i)] = 0;
  }
}

namespace {
i64 offset_of(const Tensor& x, const std::vector<i64>& index) {
  i64 offset = 0;
  for (int i = 0; i < x.rank(); ++i) offset += index[static_cast<std::size_t>(i)] * x.strides()[i];
  return offset;
}

void write(const Tensor& host, const std::vector<i64>& index, double v) {
  with_any(host.dtype(), [&]<class T>() { host.data<T>()[offset_of(host, index)] = convert<T>(v); });
}

// Copies on the CPU of the last few tensors that naive loops read, or write, element by element.
class HostCopies {
 public:
  Tensor of(const Tensor& x) {
    if (x.device() == Device::cpu) return x;
    if (const Copy* c = find(x)) return c->copy;
    if (copies_.size() == 8) copies_.erase(copies_.begin());
    copies_.push_back({x, x.detach().to(Device::cpu), version_of(x)});
    return copies_.back().copy;
  }
  // x[index] = v on its device, and in the copy if there is one.
  void set(const Tensor& x, const std::vector<i64>& index, double v) {
    Copy* c = find(x);
    view_of(x, {}, {}, x.body().offset + offset_of(x, index)).assign(full({}, v, x.dtype(), x.device()));
    if (!c) return;
    write(c->copy, index, v);
    c->version = version_of(x);
  }

 private:
  struct Copy {
    Tensor from, copy;
    u32 version;
  };
  static u32 version_of(const Tensor& x) { return x.body().storage ? x.body().storage->version : 0; }
  Copy* find(const Tensor& x) {
    for (Copy& c : copies_)
      if (c.from.ref().get() == x.ref().get() && c.version == version_of(x)) return &c;
    return nullptr;
  }
  std::vector<Copy> copies_;
};
thread_local HostCopies host_copies;

}  // namespace

double value_at(const Tensor& x_any, const std::vector<i64>& index) {
  const Tensor x = host_copies.of(x_any);
  return with_any(x.dtype(), [&]<class T>() { return convert<double>(x.data<T>()[offset_of(x, index)]); });
}
void set_value(const Tensor& x, const std::vector<i64>& index, double v) {
  if (x.device() == Device::cpu)
    write(x, index, v);
  else
    host_copies.set(x, index, v);
}

Tensor random_tensor(const Shape& shape, u64 seed, double low, double high, DType dtype) {
  std::mt19937_64 engine(seed);
  std::uniform_real_distribution<double> uniform(low, high);
  std::vector<double> v(static_cast<std::size_t>(shape.elements()));
  for (double& x : v) x = uniform(engine);
  return from_vector(std::span<const double>(v), shape, dtype);
}

Tensor random_index(const Shape& shape, i64 n, u64 seed) {
  std::mt19937_64 engine(seed);
  std::vector<i64> v(static_cast<std::size_t>(shape.elements()));
  for (i64& x : v) x = n == 0 || engine() % 5 == 0 ? -1 : static_cast<i64>(engine() % static_cast<u64>(n));
  return from_vector(v, shape);
}

std::function<Tensor(Args)> naive_map(std::function<double(const std::vector<double>&)> f) {
  return [f](Args xs) {
    Shape shape = xs[0].shape();
    for (const Tensor& x : xs) shape = broadcast("naive_map", shape, x.shape());
    Tensor y = empty(shape, DType::f64);
    for_each_index(shape, [&](const std::vector<i64>& at) {
      std::vector<double> v;
      for (const Tensor& x : xs) {
        std::vector<i64> own(at.end() - x.rank(), at.end());
        for (int i = 0; i < x.rank(); ++i)
          if (x.shape()[i] == 1) own[static_cast<std::size_t>(i)] = 0;
        v.push_back(value_at(x, own));
      }
      set_value(y, at, f(v));
    });
    return y;
  };
}

namespace {

// Twice as long along the last axis of a reversed layout: `spread` makes the stored form, `restore` the view of it.
Tensor spread(const Tensor& x) {
  if (x.rank() == 0) return x;
  Axes reversed;
  for (int i = x.rank() - 1; i >= 0; --i) reversed.push_back(i);
  const Tensor stored = contiguous(permute(x, reversed));
  const double gap = is_float(x.dtype()) ? std::numeric_limits<double>::quiet_NaN() : -99;  // where nobody may read
  return place(stored, -1, 2 * stored.dim(-1) + 1, 1, 2, x.dtype() == DType::boolean ? 1 : gap);
}
Tensor restore(const Tensor& stored) {
  if (stored.rank() == 0) return stored;
  Axes reversed;
  for (int i = stored.rank() - 1; i >= 0; --i) reversed.push_back(i);
  return permute(slice(stored, -1, {1, kEnd, 2}), reversed);
}

}  // namespace

Tensor strided_copy(const Tensor& x) {
  no_grad guard;
  if (structure_of(x)) return x;
  return restore(spread(x));
}

double difference(const Tensor& a, const Tensor& b) {
  const double infinite = std::numeric_limits<double>::infinity();
  if (a.shape() != b.shape()) return infinite;
  const std::vector<double> p = a.to_vector<double>(), q = b.to_vector<double>();
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (std::isnan(p[i]) && std::isnan(q[i])) continue;
    if (p[i] == q[i]) continue;
    if (!std::isfinite(p[i]) || !std::isfinite(q[i])) return infinite;
    worst = std::max(worst, std::abs(p[i] - q[i]));
    largest = std::max(largest, std::abs(q[i]));
  }
  return worst / (1 + largest);
}

namespace {

// Operands of one kind differ in shape; or an axis of size 1 of an index table or of what it indexes meets a longer
// one.
bool broadcast_together(const Tensor& a, const Tensor& b) {
  if (is_int(a.dtype()) == is_int(b.dtype())) return a.shape() != b.shape();
  bool meets = false;
  for (int i = 0; a.rank() == b.rank() && i < a.rank(); ++i)
    meets |= a.dim(i) != b.dim(i) && (a.dim(i) == 1 || b.dim(i) == 1);
  return meets;
}

// The run of one OpCheck.
class Run {
 public:
  explicit Run(const OpCheck& check) : check_(check) {
    u64 seed = check.seed;
    for (const Input& in : check.inputs)
      inputs_.push_back(in.values ? *in.values : random_tensor(in.shape, ++seed * 7919, in.low, in.high));
    evidence_.op = check.name;
    for (const Tensor& x : inputs_) {
      evidence_.empty |= x.size() == 0;
      for (const Tensor& y : inputs_) evidence_.broadcast |= broadcast_together(x, y);
    }
  }
  const Evidence& evidence() const { return evidence_; }

  void value() {
    const Tensor y = apply(inputs_);
    has_elements_ = y.size() > 0;
    if (check_.reference) {
      const Tensor expected = with_reference();
      INFO("value, seed ", check_.seed, ": got ", describe(y), ", reference ", describe(expected));
      CHECK_LE(difference(y, expected), check_.value_tolerance);
    }
    if (check_.strided) {
      std::vector<Tensor> views;
      for (const Tensor& x : inputs_) views.push_back(strided_copy(x));
      INFO("value with strided inputs, seed ", check_.seed);
      CHECK_LE(difference(apply(views), y), check_.value_tolerance);
      for (const Tensor& x : views) evidence_.strided |= x.size() > 0 && !x.is_contiguous();
    }
    if (check_.f32) {
      std::vector<Tensor> narrow;
      for (const Tensor& x : inputs_) narrow.push_back(x.dtype() == DType::f64 ? cast(x, DType::f32) : x);
      const Tensor y32 = apply(narrow);
      INFO("f32 against f64, seed ", check_.seed, ": got ", describe(y32));
      if (y.dtype() == DType::f64) CHECK_EQ(y32.dtype(), DType::f32);
      CHECK_LE(difference(y32, y), check_.f32_tolerance);
    }
  }

  // On a GPU: the value, and the gradient of sum(w y) for random w, against those that the CPU computes. An op of the
  // test that brings tensors of its own along cannot move; its value is compared with the reference all the same.
  void same_on_cpu() {
    if (default_device() == Device::cpu) return;
    const auto value_and_gradients = [&](const std::vector<Tensor>& inputs) {
      std::vector<Tensor> leaves;
      for (std::size_t i = 0; i < inputs.size(); ++i)
        if (check_.order > 0 && check_.inputs[i].differentiable) leaves.push_back(inputs[i].detach().requires_grad_());
      std::vector<Tensor> all{check_.op(with_leaves(inputs, leaves))};
      if (all[0].requires_grad() && is_float(all[0].dtype()))
        for (const Tensor& g :
             grad(all[0], leaves, random_tensor(all[0].shape(), check_.seed + 1, -1, 1, all[0].dtype())))
          all.push_back(g);
      return all;
    };
    const std::vector<Tensor> there = value_and_gradients(inputs_);
    std::vector<Tensor> here;
    try {
      const DeviceScope scope(Device::cpu);
      here = value_and_gradients(moved(inputs_, Device::cpu));
    } catch (const DeviceError&) {
      return;
    }
    CHECK_EQ(there.size(), here.size());
    for (std::size_t i = 0; i < here.size(); ++i) {
      INFO(name(default_device()), " against cpu, ", i == 0 ? "value" : "gradient", ", seed ", check_.seed);
      CHECK_LE(difference(there[i], here[i]), std::max(1e-12, check_.value_tolerance));
    }
    same_on_cpu_ = true;
  }

  // bf16 against f64: the value, and the gradient of sum(w y) for random w.
  void in_bf16() {
    const std::vector<Tensor> stored = cast_all(inputs_, DType::f64, DType::bf16),
                              exact = cast_all(stored, DType::bf16, DType::f64);
    const auto leaves_of = [&](const std::vector<Tensor>& xs) {
      std::vector<Tensor> leaves;
      for (std::size_t i = 0; i < xs.size(); ++i)
        if (check_.order > 0 && check_.inputs[i].differentiable) leaves.push_back(xs[i].detach().requires_grad_());
      return leaves;
    };
    const std::vector<Tensor> p = leaves_of(stored), q = leaves_of(exact);
    const Tensor y = apply(with_leaves(stored, p)), expected = check_.op(with_leaves(exact, q));
    INFO("bf16 against f64, seed ", check_.seed, ": got ", describe(y));
    CHECK_EQ(y.dtype(), expected.dtype() == DType::f64 ? DType::bf16 : expected.dtype());
    CHECK_LE(difference(y, expected), check_.bf16_tolerance);
    if (!y.requires_grad()) return;
    const Tensor w = random_tensor(y.shape(), check_.seed + 1, -1, 1, DType::bf16);
    const std::vector<Tensor> g = grad(y, p, w), wanted = grad(expected, q, cast(w, DType::f64));
    for (std::size_t i = 0; i < g.size(); ++i) {
      INFO("bf16 gradient of differentiable input ", i);
      CHECK_LE(difference(g[i], wanted[i]), check_.bf16_gradient_tolerance);
    }
  }

  void gradients(bool strided) {
    std::vector<Tensor> wanted;
    for (std::size_t i = 0; i < inputs_.size(); ++i)
      if (check_.inputs[i].differentiable) wanted.push_back(strided ? stored(inputs_[i]) : inputs_[i]);
    const Function f = [&](const std::vector<Tensor>& xs) {
      std::vector<Tensor> all = inputs_;
      std::size_t next = 0;
      for (std::size_t i = 0; i < all.size(); ++i)
        if (check_.inputs[i].differentiable) all[i] = strided ? restore_zeros(xs[next++]) : xs[next++];
      return check_.op(all);
    };
    // Where the gradient is the CPU's, differences for every element are taken there; here for a few, and along a random
    // direction, which an error in any element changes. Each takes many launches.
    const i64 most = same_on_cpu_ ? 8 : GradcheckOptions{}.most;
    const GradReport report = gradcheck(f, wanted,
                                        {.rtol = check_.tolerance * 10,
                                         .atol = check_.tolerance,
                                         .order = check_.order,
                                         .most = most,
                                         .seed = check_.seed});
    if (has_elements_ && report.checked > 0) evidence_.order = check_.order;
    CHECK_MESSAGE(report.ok, std::string(strided ? "strided inputs, " : ""), "seed ", check_.seed, ", ", report.text());
  }

 private:
  // Naive loops write element by element: on the CPU.
  Tensor with_reference() const {
    const DeviceScope scope(Device::cpu);
    return check_.reference(moved(inputs_, Device::cpu));
  }
  static std::vector<Tensor> moved(const std::vector<Tensor>& xs, Device to) {
    std::vector<Tensor> ys;
    for (const Tensor& x : xs) ys.push_back(x.to(to));
    return ys;
  }
  Tensor apply(const std::vector<Tensor>& inputs) {
    for (const Tensor& x : inputs) evidence_.dtypes.insert(name(x.dtype()));
    const Tensor y = check_.op(inputs);
    if (inputs.empty()) evidence_.dtypes.insert(name(y.dtype()));
    return y;
  }
  static std::vector<Tensor> cast_all(const std::vector<Tensor>& xs, DType from, DType to) {
    std::vector<Tensor> ys;
    for (const Tensor& x : xs) ys.push_back(x.dtype() == from ? cast(x, to) : x);
    return ys;
  }
  // xs with its differentiable ones replaced, if there are any leaves.
  std::vector<Tensor> with_leaves(std::vector<Tensor> xs, const std::vector<Tensor>& leaves) const {
    std::size_t next = 0;
    for (std::size_t i = 0; i < xs.size() && next < leaves.size(); ++i)
      if (check_.inputs[i].differentiable) xs[i] = leaves[next++];
    return xs;
  }
  // As spread and restore, with zeros in the gaps: their gradient is checked too, and is zero.
  static Tensor stored(const Tensor& x) {
    no_grad guard;
    const Tensor s = spread(x);
    return from_vector(
        [&] {
          std::vector<double> v = s.to_vector<double>();
          for (double& e : v) e = std::isnan(e) ? 0 : e;
          return v;
        }(),
        s.shape());
  }
  static Tensor restore_zeros(const Tensor& s) { return restore(s); }

  const OpCheck& check_;
  std::vector<Tensor> inputs_;
  Evidence evidence_;
  bool has_elements_ = false, same_on_cpu_ = false;
};

void check_gradients(Run& run, const OpCheck& check) {
  GradAudit audit;
  run.gradients(false);
  if (check.strided) run.gradients(true);
  if (!check.audit) return;
  for (const auto& [name, entry] : audit.entries()) {
    INFO("op '", name, "' declares saves ", fmt::format("{:#x}", entry.declared), " and its gradient reads ",
         fmt::format("{:#x}", entry.read));
    CHECK_EQ(entry.declared & ~entry.read, 0u);
  }
}

}  // namespace

void check_op(const OpCheck& check) {
  Run run(check);
  run.value();
  run.same_on_cpu();
  if (check.f32 && check.bf16) run.in_bf16();  // their range is the same
  if (check.order > 0) check_gradients(run, check);
  if (!check.name.empty()) note(run.evidence());
}

}  // namespace moegrad::test
