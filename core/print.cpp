#include "core/print.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ostream>

#include "core/structure.h"

namespace moegrad {
namespace {

constexpr i64 kAllUpTo = 1000;  // elements printed in full
constexpr i64 kEdge = 3;        // entries kept at each end of a longer axis

// The positions of an axis that are printed; -1 stands for "...".
std::vector<i64> shown(i64 size, bool all) {
  std::vector<i64> at;
  for (i64 i = 0; i < size; ++i) {
    if (all || size <= 2 * kEdge || i < kEdge || i >= size - kEdge)
      at.push_back(i);
    else if (i == kEdge)
      at.push_back(-1);
  }
  return at;
}

// Text of one value. Floats of one tensor share one format: plain with 4 decimals, or scientific where that would lose
// them.
class Values {
 public:
  Values(const Tensor& x, bool all)
      : values_(x.to_vector<double>()),
        shape_(x.shape()),
        strides_(row_major(x.shape())),
        dtype_(x.dtype()),
        all_(all) {
    visit(0, 0, [&](double v) {
      if (!std::isfinite(v) || v == 0) return;
      largest_ = std::max(largest_, std::abs(v));
      smallest_ = std::min(smallest_, std::abs(v));
      whole_ &= v == std::round(v);
    });
    scientific_ = largest_ >= 1e5 || smallest_ < 1e-4;
    visit(0, 0, [&](double v) { width_ = std::max(width_, text(v).size()); });
  }

  void print(int axis, i64 offset, std::string& out) const {
    if (axis == shape_.rank()) {
      out += fmt::format("{:>{}}", text(values_[static_cast<std::size_t>(offset)]), width_);
      return;
    }
    const bool last = axis == shape_.rank() - 1;
    out += '[';
    bool first = true;
    for (i64 i : shown(shape_[axis], all_)) {
      if (!first)
        out += last ? ", "
                    : "," + std::string(static_cast<std::size_t>(shape_.rank() - axis - 1), '\n') +
                          std::string(static_cast<std::size_t>(axis) + 1, ' ');
      first = false;
      if (i < 0)
        out += "...";
      else
        print(axis + 1, offset + i * strides_[axis], out);
    }
    out += ']';
  }

 private:
  template <class Fn> void visit(int axis, i64 offset, Fn&& f) const {
    if (axis == shape_.rank()) return f(values_[static_cast<std::size_t>(offset)]);
    for (i64 i : shown(shape_[axis], all_))
      if (i >= 0) visit(axis + 1, offset + i * strides_[axis], f);
  }
  std::string text(double v) const {
    if (dtype_ == DType::boolean) return v != 0 ? "true" : "false";
    if (is_int(dtype_)) return fmt::format("{}", static_cast<i64>(v));
    if (whole_ && !scientific_) return fmt::format("{:.0f}.", v);
    return scientific_ ? fmt::format("{:.4e}", v) : fmt::format("{:.4f}", v);
  }

  std::vector<double> values_;
  Shape shape_;
  Strides strides_;
  DType dtype_;
  bool all_;
  double largest_ = 0, smallest_ = 1;
  bool whole_ = true, scientific_ = false;
  std::size_t width_ = 0;
};

}  // namespace

std::string to_string(const Tensor& x) {
  if (!x) return "Tensor(empty handle)";
  std::string notes;
  if (x.dtype() != DType::f32) notes += fmt::format(", {}", name(x.dtype()));
  if (x.device() != Device::cpu) notes += fmt::format(", {}", name(x.device()));
  if (x.requires_grad()) notes += ", requires_grad";
  if (const Structure* s = structure_of(x)) return fmt::format("{} {}{}", s->describe(), to_string(x.shape()), notes);
  if (x.size() == 0) return fmt::format("[] {}{}", to_string(x.shape()), notes);
  std::string out;
  Values(x, x.size() <= kAllUpTo).print(0, 0, out);
  return out + fmt::format("{}{}", x.rank() > 1 ? "\n" : " ", to_string(x.shape())) + notes;
}

std::ostream& operator<<(std::ostream& out, const Tensor& x) { return out << to_string(x); }

}  // namespace moegrad
