// Tensor: a cheap handle to values with a shape, a dtype, a device and, where gradients are wanted, a place in a graph.
// Values do not change once they are in a graph. Handles and graphs belong to one thread.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/dtype.h"
#include "core/memory.h"
#include "core/shape.h"

namespace moegrad {

struct Node;       // core/autograd.h
struct Structure;  // core/structure.h
struct Index;      // ops/slice.h

/// Shared state behind a handle. Only core and ops look inside.
struct TensorBody : Pooled {
  int refs = 0;
  DType dtype{};
  Device device{};
  i64 offset = 0;  // of the first element, in elements
  Shape shape;
  Strides strides;
  Ref<Storage> storage;      // absent in a structured tensor
  Ref<Node> node;            // present where a gradient can flow
  int output = 0;            // which of the node's outputs this is
  Ref<Structure> structure;  // a value description in place of a storage (structured one-hot)

  TensorBody();
  TensorBody(const TensorBody&);
  ~TensorBody();
  static void destroy(TensorBody* b) { delete b; }
};

class Tensor {
 public:
  Tensor() = default;  ///< the empty handle: no tensor at all
  explicit Tensor(Ref<TensorBody> body) : body_(std::move(body)) {}
  explicit operator bool() const { return static_cast<bool>(body_); }

  const Shape& shape() const { return body().shape; }
  const Strides& strides() const { return body().strides; }
  int rank() const { return body().shape.rank(); }
  /// Size of one axis; negative axes count from the end. Throws ShapeError outside [-rank, rank).
  i64 dim(int axis) const;
  i64 size() const { return body().shape.elements(); }
  DType dtype() const { return body().dtype; }
  Device device() const { return body().device; }
  bool is_contiguous() const { return is_row_major(body().shape, body().strides); }

  /// Address of the first element, on the tensor's device. Throws DTypeError: T is not the tensor's type.
  template <class T> T* data() const {
    const TensorBody& b = body();
    if (b.dtype != dtype_of<T>) throw_wrong_type(dtype_of<T>);
    return reinterpret_cast<T*>(bytes()) + b.offset;
  }

  /// The value of a tensor with one element. Synchronises. Throws ShapeError: more or fewer elements.
  double item() const;
  /// All values in logical order, converted to T. Synchronises.
  template <class T> std::vector<T> to_vector() const;

  /// The same values on another device, in row-major order; x itself where it is there already. A graph op (ops/cast.h).
  Tensor to(Device device) const;

  /// x[i] along the first axis; a view.  x.index({1, Range{2, 5}, kAll, -1}): one entry per axis; a view.
  Tensor operator[](i64 i) const;
  Tensor index(std::initializer_list<Index> entries) const;

  bool requires_grad() const;
  /// Makes this tensor a leaf whose gradient `backward` accumulates. Throws GradError: it is the result of an op.
  Tensor& requires_grad_(bool on = true);
  /// Accumulated gradient of a leaf, empty before the first backward. Throws GradError: not a leaf.
  Tensor grad() const;
  /// Forgets the accumulated gradient of a leaf.
  void zero_grad() const;
  /// Adds d(this)/d(leaf) to the gradient of every leaf. Throws GradError: not a scalar, no graph.
  void backward() const;
  /// The same values outside the graph.
  Tensor detach() const;
  /// Overwrites the values in place, also from an overlapping view. Throws GradError: in a graph while recording, or
  /// the result of an op; Shape/DTypeError: they differ; Error: x repeats elements (expand).
  void assign(const Tensor& values) const;
  /// A name for error texts and state dictionaries (leaves only).
  void set_name(std::string name) const;
  std::string name() const;

  // For ops and the engine.
  const TensorBody& body() const {
    if (!body_) throw_empty();
    return *body_;
  }
  TensorBody& mutable_body() const { return const_cast<TensorBody&>(body()); }
  const Ref<TensorBody>& ref() const { return body_; }
  /// The bytes behind the tensor; makes a structured tensor dense.
  std::byte* bytes() const;

 private:
  [[noreturn]] static void throw_empty();
  [[noreturn]] void throw_wrong_type(DType wanted) const;
  Ref<TensorBody> body_;
};

// ---- construction: none of these records a graph

/// Numbers in nested braces: {1, 2, 3} or {{1, 2}, {3, 4}}.
struct Literal {
  Literal(double v) : value(v) {}
  Literal(int v) : value(v) {}
  Literal(i64 v) : value(static_cast<double>(v)) {}
  Literal(std::initializer_list<Literal> v) : list(v), is_list(true) {}
  double value = 0;
  std::vector<Literal> list;
  bool is_list = false;
};

/// Uninitialised values.
Tensor empty(const Shape& shape, DType dtype = DType::f32, Device device = default_device());
Tensor empty_like(const Tensor& x);
Tensor full(const Shape& shape, double value, DType dtype = DType::f32, Device device = default_device());
Tensor zeros(const Shape& shape, DType dtype = DType::f32, Device device = default_device());
Tensor ones(const Shape& shape, DType dtype = DType::f32, Device device = default_device());
Tensor zeros_like(const Tensor& x);
Tensor ones_like(const Tensor& x);
Tensor full_like(const Tensor& x, double value);
/// A scalar.
Tensor scalar(double value, DType dtype = DType::f32, Device device = default_device());
/// tensor({{1, 2}, {3, 4}}). Throws ShapeError: rows of different lengths.
Tensor tensor(const Literal& values, DType dtype = DType::f32, Device device = default_device());
/// Values in row-major order. Throws ShapeError: their number is not that of the shape.
template <class T>
Tensor from_vector(std::span<const T> values, const Shape& shape, DType dtype = dtype_of<T>,
                   Device device = default_device());
template <class T>
Tensor from_vector(const std::vector<T>& values, const Shape& shape, DType dtype = dtype_of<T>,
                   Device device = default_device()) {
  return from_vector(std::span<const T>(values), shape, dtype, device);
}
/// begin, begin + step, .. below end (above, for a negative step). Throws Error: step is 0, or not finite; DTypeError:
/// begin or step is a fraction and dtype (the default is i64) an integer.
Tensor arange(double begin, double end, double step = 1, DType dtype = DType::i64, Device device = default_device());
/// `count` values from first to last, both included.
Tensor linspace(double first, double last, i64 count, DType dtype = DType::f32, Device device = default_device());
/// Identity matrix [n, n].
Tensor eye(i64 n, DType dtype = DType::f32, Device device = default_device());

/// A handle to part of the storage of x: no copy, no graph. For ops only.
Tensor view_of(const Tensor& x, const Shape& shape, const Strides& strides, i64 offset);
/// The dense form of a structured tensor; any other tensor as it is.
Tensor dense(const Tensor& x);
/// Throws DeviceError / DTypeError naming both: the operands are not on one device / of one dtype.
void check_same_device(const char* op, const Tensor& a, const Tensor& b);
void check_same_dtype(const char* op, const Tensor& a, const Tensor& b);
/// Overwrites an element range for optimizers and loaders: like data(), and counts as a change of version.
template <class T> T* writable(const Tensor& x);

/// "f32 [2, 3]", for error texts.
std::string describe(const Tensor& x);

}  // namespace moegrad
