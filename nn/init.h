// Initial values of parameters.
#pragma once
#include "core/random.h"
#include "core/tensor.h"

namespace moegrad {

/// Makes the parameters of layers, each with its own draw of a random stream. A model made with Init::shapes_only() has
/// every shape but next to no memory: for counting the parameters of models that would not fit.
///   Random random(seed);  Init init(random);  Linear layer(64, 128, init);
class Init {
 public:
  explicit Init(Random& random, DType dtype = DType::f32) : random_(&random), dtype_(dtype) {}
  static Init shapes_only(DType dtype = DType::f32) { return Init(dtype); }

  Tensor constant(const Shape& shape, double value);
  Tensor zeros(const Shape& shape) { return constant(shape, 0); }
  Tensor ones(const Shape& shape) { return constant(shape, 1); }
  Tensor uniform(const Shape& shape, double low, double high);
  Tensor normal(const Shape& shape, double deviation, double mean = 0);
  /// Normal, but without what is further than two `scale`s from 0; its deviation is 0.8796 scale.
  Tensor truncated_normal(const Shape& shape, double scale);

  /// Deviation 1 / sqrt(fan_in), uniform on +-sqrt(3 / fan_in); times `gain`. With gain sqrt(2), for layers before
  /// ReLU, it is He et al.: Delving deep into rectifiers (2015), arXiv:1502.01852, equation 10; with gain 1/sqrt(3) it
  /// is the default of PyTorch's Linear.
  Tensor kaiming_uniform(const Shape& shape, i64 fan_in, double gain = 1.0);
  /// Uniform on +-gain sqrt(6 / (fan_in + fan_out)).   Source  Glorot, Bengio (2010), equation 16
  Tensor xavier_uniform(const Shape& shape, i64 fan_in, i64 fan_out, double gain = 1.0);
  /// A matrix whose rows, or columns where those are fewer, are random vectors of length `gain` at right angles.
  ///   Errors  ShapeError: not a matrix
  ///   Source  Exact solutions to the nonlinear dynamics of learning (2013), arXiv:1312.6120
  Tensor orthogonal(const Shape& shape, double gain = 1.0);

  DType dtype() const { return dtype_; }

 private:
  explicit Init(DType dtype) : dtype_(dtype) {}
  Tensor shape_only(const Shape& shape) const;
  Random* random_ = nullptr;
  DType dtype_;
};

}  // namespace moegrad
