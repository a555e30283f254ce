// From the experts that tokens chose to the slots that experts process: index tables, without a gradient.
#pragma once
#include "core/tensor.h"

namespace moegrad {

/// Slots in the order of their expert. Row n K + k is choice k of token n; -1 stands for "none".
struct Slots {
  Tensor row;    ///< i64 [G, P]: the row in each slot
  Tensor token;  ///< i64 [G, P]: its token, row / K
  Tensor begin;  ///< i64 [E + 1]: first slot of every expert (dropless); an empty handle where every expert has C slots
};

/// Every choice gets a slot: slots sorted by expert, in the order of rows within an expert.
///   Shapes    chosen [N, K] i64 with values in [-1, experts) -> row, token [1, N K], begin [experts + 1]
///   Gradient  none
///   Values    choices of -1 take no slot; the slots left over stand at the end and hold -1
///   Errors    DTypeError, ShapeError; IndexError: a value outside [-1, experts) (from a GPU at the next call that
///             waits; the choice counts as -1)
///   Source    MegaBlocks (2022), arXiv:2211.15841, section 4: routing without dropping
Slots sorted_slots(const Tensor& chosen, i64 experts);

/// Every expert has `capacity` slots. First choices of all tokens come before second choices, tokens in order; what
/// finds its expert full is dropped.
///   Shapes    chosen [G, N, K] -> row, token [G, experts capacity]: slot e capacity + c
///   Gradient  none
///   Values    empty slots hold -1
///   Errors    DTypeError, ShapeError (also: more than 2^40 slots); IndexError: a value outside [-1, experts)
///   Source    GShard (2020), arXiv:2006.16668, Algorithm 1, for any K
Slots capacity_slots(const Tensor& chosen, i64 experts, i64 capacity);

// Kernels, called only by ops/slots.cpp.
namespace cpu {
void sort_slots(const i64* chosen, i64 rows, i64 choices, i64 experts, i64* row, i64* token, i64* begin);
void fill_capacity(const i64* chosen, i64 groups, i64 tokens, i64 choices, i64 experts, i64 capacity, i64* row,
                   i64* token);
}  // namespace cpu
namespace cuda {
void sort_slots(const i64* chosen, i64 rows, i64 choices, i64 experts, i64* row, i64* token, i64* begin);
void fill_capacity(const i64* chosen, i64 groups, i64 tokens, i64 choices, i64 experts, i64 capacity, i64* row,
                   i64* token);
}  // namespace cuda

}  // namespace moegrad
