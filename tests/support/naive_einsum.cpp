#include "tests/support/naive_einsum.h"

#include <algorithm>
#include <cctype>
#include <map>

namespace moegrad::test {
namespace {

// The same equation in letters only, with "->": "..." becomes the digits 0.., counted from the right.
std::string spelled_out(std::string text, const std::vector<Tensor>& xs) {
  text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
  const std::size_t arrow = text.find("->");
  const std::string left = text.substr(0, arrow);
  std::string y, widest, all;
  std::size_t operand = 0, begin = 0;
  while (begin <= left.size()) {
    std::string term = left.substr(begin, left.find(',', begin) - begin);
    begin += term.size() + 1;
    std::string axes;
    const std::size_t dots = term.find("...");
    const int rest = xs[operand].rank() - static_cast<int>(term.size()) + (dots == term.npos ? 0 : 3);
    for (int i = rest - 1; i >= 0; --i) axes += static_cast<char>('0' + i);
    if (dots != term.npos) term.replace(dots, 3, axes);
    if (axes.size() > widest.size()) widest = axes;
    y += (operand++ ? "," : "") + term;
    all += term;
  }
  std::string result = arrow == text.npos ? "" : text.substr(arrow + 2);
  if (const std::size_t dots = result.find("..."); dots != result.npos) result.replace(dots, 3, widest);
  std::sort(all.begin(), all.end());  // upper case before lower case
  if (arrow == text.npos) {
    result = widest;
    for (char c : all)
      if (std::isalpha(static_cast<unsigned char>(c)) && std::count(all.begin(), all.end(), c) == 1) result += c;
  }
  return y + "->" + result;
}

// "ab,bc->ac" as {"ab", "bc", "ac"}.
std::vector<std::string> terms_of(const std::string& equation) {
  std::vector<std::string> terms(1);
  for (const char c : equation) {
    if (c == ',' || c == '>')
      terms.emplace_back();
    else if (c != '-')
      terms.back() += c;
  }
  return terms;
}

// An operand, or the result: where its element lies for given numbers of all letters.
struct Place {
  std::string term;
  Shape shape;
  Strides strides;
  Place(const std::string& letters, const Shape& sizes) : term(letters), shape(sizes), strides(row_major(sizes)) {}
  std::size_t operator()(std::map<char, i64>& at) const {
    i64 offset = 0;
    for (int k = 0; k < shape.rank(); ++k)
      if (shape[k] != 1) offset += at[term[static_cast<std::size_t>(k)]] * strides[k];
    return static_cast<std::size_t>(offset);
  }
};

}  // namespace

Tensor naive_einsum(const std::string& equation, const std::vector<Tensor>& xs) {
  const std::vector<std::string> terms = terms_of(spelled_out(equation, xs));
  std::map<char, i64> size;
  std::vector<Place> places;
  std::vector<std::vector<double>> values;
  for (std::size_t i = 0; i < xs.size(); ++i) {
    places.emplace_back(terms[i], xs[i].shape());
    values.push_back(xs[i].to_vector<double>());
    for (int k = 0; k < xs[i].rank(); ++k) {
      i64& n = size.emplace(terms[i][static_cast<std::size_t>(k)], 1).first->second;
      if (xs[i].shape()[k] != 1) n = xs[i].shape()[k];
    }
  }
  Shape shape;
  for (const char c : terms.back()) shape.push_back(size[c]);
  const Place result(terms.back(), shape);
  std::vector<double> y(static_cast<std::size_t>(shape.elements()), 0.0);
  std::map<char, i64> at;
  for (const auto& [letter, n] : size) {
    if (n == 0) return from_vector(y, shape);
    at[letter] = 0;
  }
  for (bool more = true; more;) {
    double product = 1;
    for (std::size_t i = 0; i < xs.size(); ++i) product *= values[i][places[i](at)];
    y[result(at)] += product;
    more = false;
    for (auto& [letter, v] : at) {  // counts on
      if (++v < size[letter]) {
        more = true;
        break;
      }
      v = 0;
    }
  }
  return from_vector(y, shape);
}

}  // namespace moegrad::test
