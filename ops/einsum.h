// Sums of products in the papers' notation.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"

namespace moegrad {

/// y[result letters] = sum over all other letters of the product of the operands: einsum("td,edf->etf", {x, w}).
///   Language  letters a-z A-Z, one per axis; "..." for any axes; a letter twice in an operand is its diagonal; spaces
///   are free; without
///             "->" the result has the axes of "..." and then the letters that occur once, upper case first
///   Shapes    every letter has one size; an axis of size 1 broadcasts.  A result letter must be in an operand
///   Dtypes    all f32 or all f64; bool operands and structured one-hots without scale adopt that.  Only integers and
///   bools: i64 Gradient  einsum is a composition of permute, reshape, matmul, sum and route_sum, and so differentiable
///   to any order Cost      pairs in the cheapest order (see einsum_path); a pair is one batched product that reads its
///   operands as they lie where
///             BLAS can.  A structured one-hot costs its routes: no tensor of rows x classes is made
///   Errors    ShapeError: operand 0 [2, 3] .. letter 'd' is 3 .. but 4 .. ; Error: a character with no meaning;
///   DTypeError: mixed dtypes Source    Einstein summation as in NumPy and PyTorch
Tensor einsum(std::string_view equation, std::span<const Tensor> operands);
inline Tensor einsum(std::string_view equation, std::initializer_list<Tensor> operands) {
  return einsum(equation, std::span<const Tensor>(operands.begin(), operands.size()));
}
template <class... More> Tensor einsum(std::string_view equation, const Tensor& first, const More&... more) {
  return einsum(equation, {first, more...});
}

/// One step of a plan, for people.
struct EinsumStep {
  std::string equation;  ///< "bnd,de->bne"
  std::string kind;      ///< "gemm", "product", "gather", "scatter" or "join"
  double flops = 0;      ///< multiplications and additions
  double bytes = 0;      ///< read and written, each operand once
  i64 elements = 0;      ///< of the result
};
struct EinsumPath {
  std::vector<EinsumStep> steps;
  double flops = 0, bytes = 0;
  i64 largest = 0;  ///< elements of the largest result of a step
  std::string text() const;
};
/// What einsum would do, without doing it.  Errors: as einsum.
EinsumPath einsum_path(std::string_view equation, std::span<const Tensor> operands);
inline EinsumPath einsum_path(std::string_view equation, std::initializer_list<Tensor> operands) {
  return einsum_path(equation, std::span<const Tensor>(operands.begin(), operands.size()));
}

}  // namespace moegrad
