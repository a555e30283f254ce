#include "core/print.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ostream>
#include <utility>

#include "core/structure.h"

namespace moegrad {
namespace {

constexpr i64 kAllUpTo = 1000;           // elements printed in full
constexpr i64 kEdge = 3;                 // entries kept at each end of a longer axis
constexpr std::size_t kLineWidth = 100;  // columns after which a row continues on the next line

// The positions of an axis that are printed; -1 stands for "...".
std::vector<i64> shown(i64 size, bool all) {
  std::vector<i64> at;
  for (i64 i = 0; i < size; ++i) {
    if (all || size <= 2 * kEdge || i < kEdge) {
      at.push_back(i);
    } else {
      at.push_back(-1);
      for (i64 k = size - kEdge; k < size; ++k) at.push_back(k);
      break;
    }
  }
  return at;
}

// The elements that are printed, in order.
template <class T> std::vector<T> shown_values(const Tensor& x, bool all) {
  const auto values = x.to_vector<T>();
  const Strides strides = row_major(x.shape());
  std::vector<i64> offsets{0};
  for (int axis = 0; axis < x.rank(); ++axis) {
    std::vector<i64> finer;
    for (i64 offset : offsets)
      for (i64 i : shown(x.shape()[axis], all))
        if (i >= 0) finer.push_back(offset + i * strides[axis]);
    offsets = std::move(finer);
  }
  std::vector<T> y;
  for (i64 offset : offsets) y.push_back(values[static_cast<std::size_t>(offset)]);
  return y;
}

// All floats of a tensor have one format: as many decimals as they need, up to 4, or scientific where the largest would
// lose its digits. An exact zero shows no decimals, so that it differs from a number too small to show.
std::vector<std::string> float_texts(const std::vector<double>& values) {
  double largest = 0;
  bool whole = true, tiny = false;
  for (double v : values) {
    if (!std::isfinite(v)) continue;
    largest = std::max(largest, std::abs(v));
    whole = whole && v == std::trunc(v);
    tiny = tiny || (v != 0 && std::abs(v) < 0.5e-4);
  }
  const bool scientific = largest >= (whole ? 1e9 : 1e5) || (largest > 0 && largest < 1e-2);
  std::vector<std::string> texts;
  std::size_t decimals = tiny ? 4 : 0;
  for (double v : values) {
    texts.push_back(scientific && v != 0 ? fmt::format("{:.4e}", v) : fmt::format("{:.4f}", v));
    if (std::isfinite(v) && !scientific)
      decimals = std::max(decimals, texts.back().find_last_not_of('0') - texts.back().find('.'));
  }
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (!std::isfinite(values[i]) || (scientific && values[i] != 0)) continue;
    const std::size_t point = texts[i].find('.');
    texts[i].resize(point + 1 + (scientific ? 0 : decimals));
    if (values[i] == 0) std::fill(texts[i].begin() + static_cast<std::ptrdiff_t>(point) + 1, texts[i].end(), ' ');
  }
  return texts;
}

std::vector<std::string> texts_of(const Tensor& x, bool all) {
  if (is_float(x.dtype())) return float_texts(shown_values<double>(x, all));
  std::vector<std::string> texts;
  for (i64 v : shown_values<i64>(x, all))
    texts.push_back(x.dtype() == DType::boolean ? (v != 0 ? "true" : "false") : fmt::format("{}", v));
  return texts;
}

// Nested brackets around texts of one width.
class Layout {
 public:
  Layout(const Shape& shape, std::vector<std::string> texts, bool all)
      : shape_(shape), texts_(std::move(texts)), all_(all) {
    for (const std::string& t : texts_) width_ = std::max(width_, t.size());
  }

  std::string text() {
    if (shape_.rank() == 0) return texts_[0];
    block(0);
    return std::move(out_);
  }

 private:
  void block(int axis) {
    if (axis == shape_.rank() - 1) return row(static_cast<std::size_t>(axis) + 1);
    // Matrices stand apart by one empty line, stacks of matrices by two, and so on.
    const std::string gap = ',' + std::string(static_cast<std::size_t>(shape_.rank() - axis - 1), '\n') +
                            std::string(static_cast<std::size_t>(axis) + 1, ' ');
    out_ += '[';
    bool first = true;
    for (i64 i : shown(shape_[axis], all_)) {
      if (!std::exchange(first, false)) out_ += gap;
      if (i < 0)
        out_ += "...";
      else
        block(axis + 1);
    }
    out_ += ']';
  }

  void row(std::size_t indent) {
    std::size_t column = indent;  // where the next text begins
    out_ += '[';
    bool first = true;
    for (i64 i : shown(shape_.back(), all_)) {
      const std::string text = i < 0 ? "..." : fmt::format("{:>{}}", texts_[next_++], width_);
      if (!std::exchange(first, false)) {
        const bool fits = column + text.size() < kLineWidth;
        out_ += fits ? ", " : ",\n" + std::string(indent, ' ');
        if (!fits) column = indent;
      }
      out_ += text;
      column += text.size() + 2;
    }
    out_ += ']';
  }

  const Shape& shape_;
  std::vector<std::string> texts_;
  bool all_;
  std::size_t width_ = 0, next_ = 0;
  std::string out_;
};

}  // namespace

std::string to_string(const Tensor& x) {
  if (!x) return "Tensor(empty handle)";
  std::string notes = describe(x);
  if (x.device() != Device::cpu) notes += fmt::format(" {}", name(x.device()));
  if (x.requires_grad()) notes += " requires_grad";
  if (const Structure* s = structure_of(x)) return fmt::format("{}  {}", s->describe(), notes);
  if (x.size() == 0) return "[]  " + notes;
  const bool all = x.size() <= kAllUpTo;
  const std::string values = Layout(x.shape(), texts_of(x, all), all).text();
  return values + (values.find('\n') == std::string::npos ? "  " : "\n") + notes;
}

std::ostream& operator<<(std::ostream& out, const Tensor& x) { return out << to_string(x); }

namespace {
bool is_printable(char c) { return c >= 32 && c < 127; }
}  // namespace

std::string printable(std::string_view text) {
  std::string s(text);
  std::replace_if(
      s.begin(), s.end(), [](char c) { return !is_printable(c); }, '?');
  return s;
}

std::string printable_character(char c) {
  return is_printable(c) ? fmt::format("'{}'", c) : fmt::format("byte {}", static_cast<unsigned char>(c));
}

}  // namespace moegrad
