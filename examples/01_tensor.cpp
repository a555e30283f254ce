// Lesson 1: a tensor.
//
// A tensor is a block of numbers with axes: a vector has one axis, a matrix two, a batch of images four. Its *shape* is
// the list of sizes. In memory the numbers lie in a row, so a tensor needs a rule from positions to places; it has one
// *stride* for each axis, the number of places to go when the index along that axis grows by one:
//
//   place(i, j, ..) = first + stride_0 i + stride_1 j + ..
//
// The whole lesson is a consequence of this line: to transpose is to swap strides, to slice is to move `first`, and to
// repeat is a stride of 0. None of them moves a number.
#include "examples/lesson.h"

using namespace moegrad;
using namespace lesson;

// The rule above, written out: is every element of a matrix where its strides say?
bool found_in(const std::vector<float>& memory, const Tensor& x) {
  bool all = true;
  for (i64 i = 0; i < x.dim(0); ++i)
    for (i64 j = 0; j < x.dim(1); ++j)
      all &= memory[static_cast<std::size_t>(x.strides()[0] * i + x.strides()[1] * j)] == x[i][j].item();
  return all;
}

int main() {
  begin(1, "a tensor");

  // Nested braces make a tensor. A variable of type Tensor is a handle: to copy it copies no numbers.
  const Tensor x = tensor({{1, 2, 3}, {4, 5, 6}});
  say("A tensor prints its values, then the type of its numbers and its shape:");
  show("x", x);

  // Two rows of three: one row further down is three places on in memory, one column to the right is one place.
  say("Its strides are {}. In memory its numbers are 1 2 3 4 5 6.", to_string(x.strides()));
  const std::vector<float> memory{1, 2, 3, 4, 5, 6};
  check("x[i][j] is the number at place 3 i + 1 j", found_in(memory, x));

  // A *view* is another handle to the same numbers, read by other strides or from another first place.
  const Tensor t = transpose(x);
  say("The transpose has shape {} and strides {}: the same memory, read the other way round.", to_string(t.shape()),
      to_string(t.strides()));
  show("t", t);
  check("the transpose begins where x begins", t.data<float>() == x.data<float>());
  check("t[i][j] is the number at place 1 i + 3 j of the same memory", found_in(memory, t));
  const Tensor middle = x.index({kAll, 1});  // of all rows, column 1
  check("the middle column begins one place after x", middle.data<float>() == x.data<float>() + 1);

  // Who shares memory sees what is written. (In a computation nothing is overwritten; this is for parameters.)
  Tensor page = zeros({2, 3});
  page[1].assign(tensor({7, 8, 9}));
  say("page[1] is a view of the second row of a page of zeros. What is written to it is on the page:");
  show("page", page);
  check("the page has the new row", page[1][2].item() == 9);

  // Some shapes no strides can describe. 1 4 2 5 3 6 is not evenly spaced in 1 2 3 4 5 6, so this reshape is a copy.
  const Tensor flat = reshape(x, {6}), flat_transpose = reshape(t, {6});
  say("reshape(x, {{6}}) is a view. reshape(t, {{6}}) cannot be one and copies:");
  show("reshape(t, {6})", flat_transpose);
  check("the first shares memory with x", flat.data<float>() == x.data<float>());
  check("the second does not", flat_transpose.data<float>() != x.data<float>());

  // *Broadcasting*: two shapes are compared from the right; an axis that is missing, or has size 1, is repeated.
  const Tensor row = tensor({10, 20, 30}), column = tensor({{100}, {200}});
  const Tensor total = x + row + column;
  say("x [2, 3] + row [3] + column [2, 1]: row is repeated downwards, column to the right.");
  show("x + row + column", total);
  bool as_loops = true;
  for (i64 i = 0; i < 2; ++i)
    for (i64 j = 0; j < 3; ++j) as_loops &= total[i][j].item() == x[i][j].item() + row[j].item() + column[i][0].item();
  check("it is what two loops compute", as_loops);
  check("a row repeated twice has strides [0, 1]: no copy", expand(row, {2, 3}).strides() == Strides{0, 1});

  // The *dtype* is the type of the numbers. Floats differ in how many binary digits they keep.
  say("A third, as the three types of floats keep it (bf16 has 8 significant binary digits, f32 24, f64 53):");
  for (const DType type : {DType::bf16, DType::f32, DType::f64})
    show(fmt::format("{:5} {:.17f}", name(type), full({}, 1.0 / 3, type).item()));
  check("in bf16, 256 + 1 is 256", (scalar(256, DType::bf16) + scalar(1, DType::bf16)).item() == 256);
  check("in f32, it is 257", (scalar(256) + scalar(1)).item() == 257);
  say("There are also i64 and i32 for whole numbers, and bool, which comparisons give:");
  show("x > 3", gt(x, scalar(3)));

  // A mistake is an error at the call, which says what rule was broken, by what.
  say("The product of a [2, 3] and a [2, 3] matrix does not exist. The error says which sizes must agree:");
  std::string error;
  try {
    matmul(x, x);
  } catch (const ShapeError& e) {
    error = e.what();
  }
  show(error);
  check("it names the op, both shapes and both sizes",
        error == "matmul: inner sizes must match; got a [2, 3] and b [2, 3] (3 != 2)");
  check("with the transpose it works: [2, 3] times [3, 2] is [2, 2]", matmul(x, t).shape() == Shape{2, 2});

  // Two dtypes are an error, too: to mix them silently would hide where digits are lost.
  try {
    error.clear();
    x + cast(x, DType::f64);
  } catch (const DTypeError& e) {
    error = e.what();
  }
  show(error);
  check("no dtype is changed unless you say so", !error.empty());
  return finish();
}
