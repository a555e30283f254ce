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
///             are free; without "->" the result has the axes of "..." and then the letters that occur once, upper case
///             first
///   Shapes    every letter has one size; an axis of size 1 broadcasts.  A result letter must be in an operand
///   Dtypes    all f32, all f64 or all bf16; bool operands and structured one-hots without scale adopt that.  Only
///             integers and bools: i64, computed in i64, exact modulo 2^64; a result that is still a structured one-hot
///             stays bool
///   Gradient  any order: einsum is a composition of permute, reshape, matmul, mul, sum and route_sum.  Integers have
///             none
///   Cost      pairs in the cheapest order (see einsum_path); a pair is one batched product that reads its operands as
///             they lie where BLAS can.  A structured one-hot costs its routes: no tensor of rows x classes is made
///             unless a class letter of one one-hot is a letter of another.  What to do is worked out once per
///             equation, dtypes, shapes and layouts, and remembered
///   Errors    they quote the equation and name letter and operands.  ShapeError: a letter has two sizes, other numbers
///             of operands or axes; Error: a character with no meaning; DTypeError: mixed dtypes
///   Source    Einstein summation as in NumPy and PyTorch
Tensor einsum(std::string_view equation, std::span<const Tensor> operands);
inline Tensor einsum(std::string_view equation, std::initializer_list<Tensor> operands) {
  return einsum(equation, std::span<const Tensor>(operands.begin(), operands.size()));
}
template <class... More> Tensor einsum(std::string_view equation, const Tensor& first, const More&... more) {
  return einsum(equation, {first, more...});
}

/// One step of a plan, for people.
struct EinsumStep {
  int a = 0, b = -1;     ///< operands; the result takes the number of `a`. b is -1 where there is only one
  std::string equation;  ///< "bnd,de->bne"
  /// "gemm", "product" (elementwise); for structured one-hots "gather", "scatter", "scale" (of routes), "join" (of two
  /// tables); for one operand "diagonal", "sum", "permute"
  std::string kind;
  double flops = 0;  ///< multiplications and additions
  double bytes = 0;  ///< read and written, each operand once; 0 for a view
  i64 elements = 0;  ///< of the result, index entries of a structured one
};
struct EinsumPath {
  std::vector<EinsumStep> steps;
  double flops = 0, bytes = 0;
  i64 largest = 0;  ///< elements of the largest result of a step
  /// A line per step and one for the total.
  std::string text() const;
};
/// What einsum would do, without doing it.  Errors: as einsum.
EinsumPath einsum_path(std::string_view equation, std::span<const Tensor> operands);
inline EinsumPath einsum_path(std::string_view equation, std::initializer_list<Tensor> operands) {
  return einsum_path(equation, std::span<const Tensor>(operands.begin(), operands.size()));
}

/// How many plans einsum has made on this thread. For tests.
i64 einsum_plans_made();

}  // namespace moegrad
