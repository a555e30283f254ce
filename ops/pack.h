// Tensors of different ranks in one, and back.
#pragma once
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

#include "core/tensor.h"

namespace moegrad {

/// Tensors of different ranks joined along the axis "*", and the axes that "*" stood for in each of them.
struct Packed {
  Tensor y;
  std::vector<Shape> shapes;
};
/// y = the tensors one behind the other, each with the axes that "*" stands for joined into one: pack({a, b}, "b * d")
/// of a [B, H, W, D] and b [B, D] is [B, H W + 1, D].
///   Language  names, parted by spaces, and one "*", which stands for any number of axes
///   Shapes    xs: named axes alike.  y: one axis for "*".   Dtypes: any, all alike
///   Gradient  each gets its part of dy; any order
///   Errors    they quote the pattern. Error: it cannot be read.  ShapeError: no tensors, too few axes, named axes
///             differ.  DTypeError: dtypes differ
Packed pack(std::span<const Tensor> xs, std::string_view pattern);
Packed pack(std::initializer_list<Tensor> xs, std::string_view pattern);

/// The inverse of pack: parts of x along the axis "*", in each of which that axis is split into the given shape. One
/// size of all of them may be -1 and is worked out.
///   Shapes    x [.., n, ..], sizes of `shapes` that add up to n -> as many tensors; views
///   Gradient  each part's dy placed into zeros, and these summed; any order.  Dtypes: any
///   Errors    they quote the pattern. Error: it cannot be read.  ShapeError: x has other axes, shapes do not add up to
///             its size, -1 twice or not one whole number
std::vector<Tensor> unpack(const Tensor& x, std::span<const Shape> shapes, std::string_view pattern);
std::vector<Tensor> unpack(const Tensor& x, std::initializer_list<Shape> shapes, std::string_view pattern);

}  // namespace moegrad
