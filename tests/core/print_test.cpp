#include "core/print.h"

#include <doctest/doctest.h>

#include <cmath>
#include <sstream>
#include <vector>

#include "ops/arithmetic.h"
#include "ops/views.h"
#include "tests/support/on_cuda.h"

using namespace moegrad;

TEST_CASE("print: scalars, rows and matrices, aligned") {
  const DeviceScope scope(Device::cpu);
  CHECK(to_string(scalar(3)) == "3.  f32 []");
  CHECK(to_string(scalar(0.1)) == "0.1  f32 []");
  CHECK(to_string(scalar(-7, DType::i32)) == "-7  i32 []");
  CHECK(to_string(tensor({1, 2, 3})) == "[1., 2., 3.]  f32 [3]");
  CHECK(to_string(tensor({{1, 2, 3}})) == "[[1., 2., 3.]]  f32 [1, 3]");
  CHECK(to_string(tensor({1, 0, 0.25, -3.5})) == "[ 1.00,  0.  ,  0.25, -3.50]  f32 [4]");
  CHECK(to_string(tensor({{1, 2}, {-3, 400}}, DType::i64)) ==
        "[[  1,   2],\n"
        " [ -3, 400]]\n"
        "i64 [2, 2]");
  CHECK(to_string(tensor({{1, 0}, {0, 0}}, DType::boolean)) ==
        "[[ true, false],\n"
        " [false, false]]\n"
        "bool [2, 2]");
}

TEST_CASE("print: blocks of matrices stand apart") {
  const DeviceScope scope(Device::cpu);
  CHECK(to_string(reshape(arange(8, 16), {2, 2, 2})) ==
        "[[[ 8,  9],\n"
        "  [10, 11]],\n"
        "\n"
        " [[12, 13],\n"
        "  [14, 15]]]\n"
        "i64 [2, 2, 2]");
  CHECK(to_string(reshape(arange(0, 2), {2, 1, 1, 1})) == "[[[[0]]],\n\n\n [[[1]]]]\ni64 [2, 1, 1, 1]");
}

TEST_CASE("print: floats keep their digits") {
  const DeviceScope scope(Device::cpu);
  CHECK(to_string(tensor({1.5, 123.45678})) == "[  1.5000, 123.4568]  f32 [2]");
  CHECK(to_string(tensor({1e-9, 2e-5, 0})) == "[1.0000e-09, 2.0000e-05,         0.]  f32 [3]");
  CHECK(to_string(tensor({1e8, 1.5})) == "[1.0000e+08, 1.5000e+00]  f32 [2]");
  CHECK(to_string(tensor({123456, 1})) == "[123456.,      1.]  f32 [2]");
  // A number too small to show is 0.0000, an exact zero is 0.
  CHECK(to_string(tensor({1e-9, 0, 1})) == "[0.0000, 0.    , 1.0000]  f32 [3]");
  CHECK(to_string(tensor({NAN, 1.5, INFINITY, -INFINITY})) == "[ nan,  1.5,  inf, -inf]  f32 [4]");
  CHECK(to_string(tensor({NAN, NAN}, DType::f64)) == "[nan, nan]  f64 [2]");
  CHECK(to_string(tensor({-0.0, 2})) == "[-0.,  2.]  f32 [2]");
  CHECK(to_string(from_vector(std::vector<i64>{9007199254740993, -1}, {2})) ==
        "[9007199254740993,               -1]  i64 [2]");
}

TEST_CASE("print: notes, empty tensors and the empty handle") {
  const DeviceScope scope(Device::cpu);
  Tensor w = full({2}, 0.5);
  w.requires_grad_();
  CHECK(to_string(w) == "[0.5, 0.5]  f32 [2] requires_grad");
  CHECK(to_string(zeros({0, 3})) == "[]  f32 [0, 3]");
  CHECK(to_string(Tensor()) == "Tensor(empty handle)");
  std::ostringstream out;
  out << tensor({1, 2}, DType::f64);
  CHECK(out.str() == "[1., 2.]  f64 [2]");
}

TEST_CASE("print: views print what they show") {
  const DeviceScope scope(Device::cpu);
  const Tensor x = reshape(arange(0, 6), {2, 3});
  CHECK(to_string(transpose(x)) == "[[0, 3],\n [1, 4],\n [2, 5]]\ni64 [3, 2]");
  CHECK(to_string(expand(tensor({7}), {2, 2})) == "[[7., 7.],\n [7., 7.]]\nf32 [2, 2]");
}

TEST_CASE("print: above 1,000 elements each axis shows three entries at each end") {
  const DeviceScope scope(Device::cpu);
  CHECK(to_string(arange(0, 2000)) == "[   0,    1,    2, ..., 1997, 1998, 1999]  i64 [2000]");
  CHECK(to_string(reshape(arange(0, 10000), {100, 100})) ==
        "[[   0,    1,    2, ...,   97,   98,   99],\n"
        " [ 100,  101,  102, ...,  197,  198,  199],\n"
        " [ 200,  201,  202, ...,  297,  298,  299],\n"
        " ...,\n"
        " [9700, 9701, 9702, ..., 9797, 9798, 9799],\n"
        " [9800, 9801, 9802, ..., 9897, 9898, 9899],\n"
        " [9900, 9901, 9902, ..., 9997, 9998, 9999]]\n"
        "i64 [100, 100]");
  // The format suits the shown values: hidden ones do not widen the columns.
  std::vector<float> values(2000);
  values[1000] = 123.456f;
  const Tensor hidden = from_vector(values, {2000}, DType::f32, Device::cpu);
  CHECK(to_string(hidden) == "[0., 0., 0., ..., 0., 0., 0.]  f32 [2000]");
  CHECK(to_string(arange(0, 1000)).find("...") == std::string::npos);
}

TEST_CASE("print: long rows go on below, within 100 columns") {
  const DeviceScope scope(Device::cpu);
  const std::string text = to_string(arange(0, 60));
  CHECK(text.substr(0, text.find('\n')) ==
        "[ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24,");
  std::istringstream lines(to_string(reshape(arange(0, 900), {3, 300})));
  for (std::string line; std::getline(lines, line);) CHECK(line.size() <= 100);
}

TEST_CASE("print: bf16 as the other floats") {
  const DeviceScope scope(Device::cpu);
  CHECK(to_string(tensor({0.1, 1, -2.5}, DType::bf16)) == "[ 0.1001,  1.0000, -2.5000]  bf16 [3]");
}

TEST_CASE("print: where a tensor is, unless that is the CPU") {
  if (!test::on_cuda()) return;
  CHECK(to_string(full({2}, 1, DType::f32, Device::cuda)) == "[1., 1.]  f32 [2] cuda");
}
