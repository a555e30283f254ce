#include "core/tensor.h"

#include <fmt/format.h>

#include <cmath>
#include <memory>

#include "core/autograd.h"
#include "core/cuda.h"
#include "core/fill.h"
#include "core/nest.h"
#include "core/structure.h"

namespace moegrad {

TensorBody::TensorBody() = default;
TensorBody::~TensorBody() = default;
TensorBody::TensorBody(const TensorBody& o)
    : Pooled(),
      dtype(o.dtype),
      device(o.device),
      offset(o.offset),
      shape(o.shape),
      strides(o.strides),
      storage(o.storage),
      node(o.node),
      output(o.output),
      structure(o.structure) {}

void Tensor::throw_empty() {
  throw Error("tensor: the handle must hold a tensor; got an empty (default constructed) Tensor");
}

void Tensor::throw_wrong_type(DType wanted) const {
  throw DTypeError(fmt::format("data: the C++ type must be that of the tensor; got {} for x {}", moegrad::name(wanted),
                               moegrad::describe(*this)));
}

i64 Tensor::dim(int axis) const { return shape()[check_axis("dim", shape(), axis)]; }

std::byte* Tensor::bytes() const {
  const TensorBody& b = body();
  // A structure keeps its dense form alive; that is contiguous, as strides() says.
  return (b.storage ? b : moegrad::dense(*this).body()).storage->data;
}

// ---- values on the host

namespace {

Nest<2> copy_nest(const Shape& shape, const Strides& from, const Strides& to) {
  Nest<2> nest;
  nest.rank = std::max(shape.rank(), 1);
  for (int i = 0; i < shape.rank(); ++i) {
    nest.sizes[i] = shape[i];
    nest.strides[0][i] = from[i];
    nest.strides[1][i] = to[i];
  }
  merge_axes(nest);
  return nest;
}

// Copies in logical order between any two dtypes, on the host.
template <class To, class From>
void copy_values(const From* from, const Strides& from_strides, To* to, const Strides& to_strides, const Shape& shape) {
  const Nest<2> nest = copy_nest(shape, from_strides, to_strides);
  const i64 fs = nest.strides[0][nest.rank - 1], ts = nest.strides[1][nest.rank - 1];
  walk(nest, 0, shape.elements(), [&](const i64* offset, i64 n) {
    for (i64 i = 0; i < n; ++i) to[offset[1] + i * ts] = convert<To>(from[offset[0] + i * fs]);
  });
}

// The elements of x for the host: those of a CPU tensor as they lie, of any other a copy of the bytes that they span.
class HostView {
 public:
  explicit HostView(const Tensor& x) : first_(x.bytes() + x.body().offset * byte_size(x.dtype())) {
    if constexpr (kWithCuda)
      if (x.device() == Device::cuda && x.size() > 0) copy(x);
  }
  template <class T> const T* data() const { return reinterpret_cast<const T*>(first_); }

 private:
  void copy(const Tensor& x) {
    i64 low = 0, high = 0;  // of the elements, from the first one
    for (int i = 0; i < x.rank(); ++i) {
      const i64 reach = (x.shape()[i] - 1) * x.strides()[i];
      (reach < 0 ? low : high) += reach;
    }
    const i64 width = byte_size(x.dtype());
    bytes_ = std::make_unique_for_overwrite<std::byte[]>(static_cast<std::size_t>((high - low + 1) * width));
    cuda::copy_to_host(bytes_.get(), first_ + low * width, (high - low + 1) * width);
    first_ = bytes_.get() - low * width;
  }
  const std::byte* first_;
  std::unique_ptr<std::byte[]> bytes_;
};

// Each element of x has a place of its own to write to.
void check_writable(const char* op, const Tensor& x) {
  if (x.body().structure)
    throw GradError(fmt::format("{}: a structured one-hot has no storage to write to; make it dense first", op));
  for (int i = 0; i < x.rank(); ++i)
    if (x.strides()[i] == 0 && x.shape()[i] > 1)
      throw Error(fmt::format("{}: x must not repeat its elements; got x {} expanded along axis {} (copy it first)", op,
                              describe(x), i));
}

}  // namespace

template <class T> std::vector<T> Tensor::to_vector() const {
  const HostView host(*this);
  const auto flat = std::make_unique<T[]>(static_cast<std::size_t>(size()));  // std::vector<bool> has no data()
  with_any(dtype(),
           [&]<class From>() { copy_values(host.data<From>(), strides(), flat.get(), row_major(shape()), shape()); });
  return std::vector<T>(flat.get(), flat.get() + size());
}
template std::vector<float> Tensor::to_vector() const;
template std::vector<double> Tensor::to_vector() const;
template std::vector<bf16> Tensor::to_vector() const;
template std::vector<i32> Tensor::to_vector() const;
template std::vector<i64> Tensor::to_vector() const;
template std::vector<bool> Tensor::to_vector() const;

double Tensor::item() const {
  if (size() != 1) throw ShapeError(fmt::format("item: x must have one element; got x {}", to_string(shape())));
  const HostView host(*this);
  return with_any(dtype(), [&]<class T>() { return convert<double>(*host.data<T>()); });
}

void Tensor::assign(const Tensor& values) const {
  check_writable("assign", *this);
  const Ref<Node>& node = body().node;
  if (node && (recording() || !node->is_leaf()))
    throw GradError(fmt::format(
        "assign: a value in a graph must not change; got x {} that requires a gradient (detach it, or update a leaf "
        "under no_grad)",
        describe(*this)));
  check_same_device("assign", *this, values);
  check_same_dtype("assign", *this, values);
  if (shape() != values.shape())
    throw ShapeError(
        fmt::format("assign: shapes must match; got {} for x {}", to_string(values.shape()), to_string(shape())));
  if (body().storage == values.body().storage) {  // the views may overlap: by way of a copy
    const Tensor copy = empty_like(values);
    copy.assign(values);
    return assign(copy);
  }
  const Nest<2> nest = copy_nest(shape(), values.strides(), strides());
  with_any(dtype(),
           [&]<class T>() { MOEGRAD_LAUNCH(device(), copy_elements, values.data<T>(), writable<T>(*this), nest); });
}

template <class T> T* writable(const Tensor& x) {
  check_writable("writable", x);
  T* p = x.data<T>();
  x.body().storage->version++;
  return p;
}
template float* writable(const Tensor&);
template double* writable(const Tensor&);
template bf16* writable(const Tensor&);
template i32* writable(const Tensor&);
template i64* writable(const Tensor&);
template bool* writable(const Tensor&);

// ---- construction

namespace {

// Uninitialised values, for the op that a user called.
Tensor make(const char* op, const Shape& shape, DType dtype, Device device) {
  check_sizes(op, shape);
  check_device(op, device);
  auto* body = new TensorBody;
  Tensor y{Ref<TensorBody>(body)};
  body->dtype = dtype;
  body->device = device;
  body->shape = shape;
  body->strides = row_major(shape);
  body->storage = allocate(device, shape.elements(), dtype);
  return y;
}

Tensor filled(const char* op, const Shape& shape, double value, DType dtype, Device device) {
  Tensor y = make(op, shape, dtype, device);
  if (y.size() == 0) return y;
  with_any(dtype, [&]<class T>() { MOEGRAD_LAUNCH(device, fill_value, y.data<T>(), y.size(), convert<T>(value)); });
  return y;
}

Tensor line(const char* op, i64 count, const Line& values, DType dtype, Device device) {
  Tensor y = make(op, {count}, dtype, device);
  if (count == 0) return y;
  with_any(dtype, [&]<class T>() { MOEGRAD_LAUNCH(device, fill_line, y.data<T>(), count, values); });
  return y;
}

}  // namespace

Tensor empty(const Shape& shape, DType dtype, Device device) { return make("empty", shape, dtype, device); }
Tensor empty_like(const Tensor& x) { return empty(x.shape(), x.dtype(), x.device()); }

Tensor full(const Shape& shape, double value, DType dtype, Device device) {
  return filled("full", shape, value, dtype, device);
}
Tensor zeros(const Shape& shape, DType dtype, Device device) { return filled("zeros", shape, 0, dtype, device); }
Tensor ones(const Shape& shape, DType dtype, Device device) { return filled("ones", shape, 1, dtype, device); }
Tensor zeros_like(const Tensor& x) { return zeros(x.shape(), x.dtype(), x.device()); }
Tensor ones_like(const Tensor& x) { return ones(x.shape(), x.dtype(), x.device()); }
Tensor full_like(const Tensor& x, double value) { return full(x.shape(), value, x.dtype(), x.device()); }
Tensor scalar(double value, DType dtype, Device device) { return full({}, value, dtype, device); }

namespace {

void flatten(const Literal& literal, int depth, const Shape& shape, std::vector<double>& out) {
  if (!literal.is_list) {
    if (depth != shape.rank()) throw ShapeError("tensor: rows must have one depth; got a number beside a list");
    out.push_back(literal.value);
    return;
  }
  if (depth >= shape.rank()) throw ShapeError("tensor: rows must have one depth; got a list beside a number");
  if (static_cast<i64>(literal.list.size()) != shape[depth])
    throw ShapeError(
        fmt::format("tensor: rows must have one length; got {} and {}", shape[depth], literal.list.size()));
  for (const Literal& part : literal.list) flatten(part, depth + 1, shape, out);
}

}  // namespace

Tensor tensor(const Literal& values, DType dtype, Device device) {
  Shape shape;
  for (const Literal* at = &values; at->is_list; at = &at->list.front()) {
    shape.push_back(static_cast<i64>(at->list.size()));
    if (at->list.empty()) break;
  }
  std::vector<double> flat;
  flatten(values, 0, shape, flat);
  return from_vector(std::span<const double>(flat), shape, dtype, device);
}

template <class T> Tensor from_vector(std::span<const T> values, const Shape& shape, DType dtype, Device device) {
  check_sizes("from_vector", shape);
  if (static_cast<i64>(values.size()) != shape.elements())
    throw ShapeError(fmt::format("from_vector: the shape must hold all values; got {} values for {}", values.size(),
                                 to_string(shape)));
  check_device("from_vector", device);
  Tensor host = empty(shape, dtype, Device::cpu);
  with_any(dtype, [&]<class To>() {
    To* to = host.data<To>();
    for (const T v : values) *to++ = convert<To>(v);
  });
  if (device == Device::cpu) return host;
  Tensor y = empty(shape, dtype, device);
  if constexpr (kWithCuda) cuda::copy_to_device(y.bytes(), host.bytes(), y.body().storage->bytes);
  return y;
}
template Tensor from_vector(std::span<const float>, const Shape&, DType, Device);
template Tensor from_vector(std::span<const double>, const Shape&, DType, Device);
template Tensor from_vector(std::span<const bf16>, const Shape&, DType, Device);
template Tensor from_vector(std::span<const i32>, const Shape&, DType, Device);
template Tensor from_vector(std::span<const i64>, const Shape&, DType, Device);
template Tensor from_vector(std::span<const bool>, const Shape&, DType, Device);

Tensor arange(double begin, double end, double step, DType dtype, Device device) {
  if (step == 0 || !std::isfinite(begin) || !std::isfinite(end) || !std::isfinite(step))
    throw Error(
        fmt::format("arange: begin, end and step must be finite and step not 0; got {}, {}, {}", begin, end, step));
  if (!is_float(dtype) && (begin != std::trunc(begin) || step != std::trunc(step)))
    throw DTypeError(fmt::format("arange: begin and step must be whole numbers for {}; got {}, {}, {} (or ask for f32)",
                                 name(dtype), begin, end, step));
  const double count = std::max(0.0, std::ceil((end - begin) / step));
  if (count > 1e15) throw ShapeError(fmt::format("arange: at most 10^15 values; got {}", count));
  return line("arange", static_cast<i64>(count), {begin, step}, dtype, device);
}

Tensor linspace(double first, double last, i64 count, DType dtype, Device device) {
  return line("linspace", count, {first, count > 1 ? (last - first) / static_cast<double>(count - 1) : 0, last}, dtype,
              device);
}

Tensor eye(i64 n, DType dtype, Device device) {
  Tensor y = filled("eye", {n, n}, 0, dtype, device);
  view_of(y, {n}, Strides(1, n + 1), 0).assign(ones({n}, dtype, device));
  return y;
}

// ---- views and checks

Tensor view_of(const Tensor& x, const Shape& shape, const Strides& strides, i64 offset) {
  const Tensor source = dense(x);
  auto* body = new TensorBody;
  Tensor y{Ref<TensorBody>(body)};
  body->dtype = source.dtype();
  body->device = source.device();
  body->offset = offset;
  body->shape = shape;
  body->strides = strides;
  body->storage = source.body().storage;
  return y;
}

Tensor dense(const Tensor& x) { return x.body().structure ? x.body().structure->dense() : x; }

void check_same_device(const char* op, const Tensor& a, const Tensor& b) {
  if (a.device() != b.device())
    throw DeviceError(fmt::format("{}: operands must be on one device; got {} {} and {} {}", op, name(a.device()),
                                  describe(a), name(b.device()), describe(b)));
}
void check_same_dtype(const char* op, const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype())
    throw DTypeError(fmt::format("{}: operands must have one dtype; got {} and {}", op, describe(a), describe(b)));
}

std::string describe(const Tensor& x) { return fmt::format("{} {}", name(x.dtype()), to_string(x.shape())); }

}  // namespace moegrad
