// Random strings for einsum, rearrange, reduce, repeat, pack and unpack. A third is valid by construction, a third such
// with mutations, a third noise. What holds for each:
//   - it is refused with a moegrad::Error (not an InternalError), or accepted; a valid one is accepted
//   - an accepted text is well-formed by rules that are checked here without the parsers
//   - an accepted call is carried out if it is small: nothing is lost or doubled, and a structured one-hot gives what
//     its dense form gives
//
//   fuzz_patterns [COUNT [SEED [FIRST]]]     the cases FIRST .. FIRST + COUNT - 1 of that seed; default 10000 1 0
//
// A failure names seed, case and text; FIRST repeats it alone. Exit status 0: none failed.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <set>
#include <sstream>
#include <string>

#include "core/errors.h"
#include "core/print.h"
#include "ops/cast.h"
#include "ops/einops.h"
#include "ops/einsum.h"
#include "ops/einsum_parse.h"
#include "ops/one_hot.h"
#include "ops/pack.h"
#include "ops/reduce.h"
#include "ops/views.h"
#include "tests/fuzz/draw.h"
#include "tests/support/naive_einsum.h"

using namespace moegrad;
using namespace moegrad::fuzz;

namespace {

constexpr i64 kSmall = 4096;  // elements of a result, and of what is summed for it, that is computed

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};
void require(bool holds, const char* what) {
  if (!holds) throw Failure(what);
}

i64 elements(const Shape& shape) {
  double n = 1;
  for (i64 d : shape) n *= static_cast<double>(d);
  return static_cast<i64>(std::min(n, 1e18));
}
double total(const Tensor& x) { return sum(cast(x, DType::f64)).item(); }
Tensor counted(const Shape& shape) {
  return reshape(arange(0, static_cast<double>(elements(shape)), 1, DType::f64), shape);
}

// ---- what is well-formed

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// The two sides; false where there is not one "->". An equation may do without.
bool cut(const std::string& text, bool arrow_needed, std::string& left, std::string& right) {
  const std::size_t at = text.find("->");
  left = text.substr(0, at);
  right = at == text.npos ? "" : text.substr(at + 2);
  return right.find("->") == right.npos && (at != text.npos || !arrow_needed);
}
// Without the one "..." that a term may have; other dots stay in it.
std::string without_dots(std::string term) {
  if (const std::size_t at = term.find("..."); at != term.npos) term.replace(at, 3, " ");
  return term;
}

bool well_formed_equation(const std::string& text, std::size_t operands) {
  std::string left, right;
  if (!cut(text, false, left, right)) return false;
  if (static_cast<std::size_t>(std::count(left.begin(), left.end(), ',')) + 1 != operands) return false;
  std::set<char> named;
  for (char c : without_dots(right)) {
    if (c == ' ') continue;
    if (!is_letter(c) || left.find(c) == left.npos || !named.insert(c).second) return false;
  }
  std::istringstream terms(left + ",");
  for (std::string term; std::getline(terms, term, ',');)
    for (char c : without_dots(term))
      if (c != ' ' && !is_letter(c)) return false;
  return true;
}

bool well_formed_side(const std::string& side) {
  std::set<std::string> named;
  int depth = 0;
  std::string spaced;
  for (char c : without_dots(side)) {
    depth += c == '(' ? 1 : c == ')' ? -1 : 0;
    if (depth < 0 || depth > 1) return false;
    if (!is_letter(c) && !std::isdigit(static_cast<unsigned char>(c)) && c != '_' && c != ' ' && c != '(' && c != ')')
      return false;
    spaced += c == '(' || c == ')' ? ' ' : c;
  }
  std::istringstream words(spaced);
  for (std::string w; words >> w;) {
    const bool number = std::all_of(w.begin(), w.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (number ? w.find_first_not_of('0') == w.npos : !is_letter(w[0]) || w.back() == '_') return false;
    if (!number && !named.insert(w).second) return false;
  }
  return depth == 0;
}
bool well_formed_pattern(const std::string& text) {
  std::string left, right;
  return cut(text, true, left, right) && well_formed_side(left) && well_formed_side(right);
}
bool well_formed_pack(const std::string& text) {
  std::string names = text;
  const std::size_t star = text.find('*');
  if (star != text.npos) names[star] = ' ';
  return star != text.npos && names.find_first_of("()") == names.npos && well_formed_side(names);
}

// ---- carrying it out; true: accepted

template <class Fn> bool accepted(const Call& call, Fn&& f) {
  try {
    f();
    return true;
  } catch (const InternalError& e) {
    throw Failure(fmt::format("an internal error: {}", e.what()));
  } catch (const Error& e) {
    if (call.valid) throw Failure(fmt::format("a valid call was refused: {}", e.what()));
    return false;
  }
}

// Small whole numbers, whose products and sums are exact; or a one-hot with empty rows. Ones, without memory, where the
// shape is too large to be computed with.
Tensor operand(const Shape& shape, bool structured, Dice& dice) {
  if (elements(shape) > kSmall) return expand(scalar(1, DType::f64), shape);
  structured = structured && !shape.empty() && shape.back() > 0;
  const Shape rows(shape.begin(), shape.end() - (structured ? 1 : 0));
  std::vector<i64> v(static_cast<std::size_t>(rows.elements()));
  for (i64& x : v) x = structured ? dice.below(shape.back() + 1) - 1 : dice.below(7) - 3;
  const Tensor t = from_vector(v, rows);
  return structured ? one_hot(t, shape.back()) : cast(t, DType::f64);
}

bool run_einsum(const Call& call, Dice& dice) {
  std::vector<Tensor> xs, plain;
  bool small = true;
  for (const Shape& shape : call.shapes) {
    small &= elements(shape) <= kSmall;
    xs.push_back(operand(shape, dice.chance(15), dice));
  }
  EinsumPath path;
  if (!accepted(call, [&] { path = einsum_path(call.text, xs); })) return false;
  require(well_formed_equation(call.text, xs.size()), "an equation that is not well-formed was accepted");
  double terms = 1;  // of the sum, were it written out
  for (i64 size : Equation::parse(call.text, call.shapes).size) terms *= static_cast<double>(std::max<i64>(size, 1));
  if (!small || terms > kSmall) return true;
  const Tensor y = einsum(call.text, xs);
  for (const Tensor& x : xs) plain.push_back(dense(cast(x, DType::f64)));
  const Tensor expected = test::naive_einsum(call.text, plain);
  require(y.shape() == expected.shape(), "the result has another shape than nested loops give");
  require(cast(dense(y), DType::f64).to_vector<double>() == expected.to_vector<double>(),
          "the result has other values than nested loops give");
  return true;
}

bool run_pattern(const Call& call, Dice& dice) {
  std::vector<AxisSize> list;
  for (const auto& [name, size] : call.sizes) list.push_back({name, size});
  const std::span<const AxisSize> sizes(list);
  const Shape& shape = call.shapes[0];
  const auto op = call.op == "rearrange" ? Pattern::Op::rearrange
                  : call.op == "reduce"  ? Pattern::Op::reduce
                                         : Pattern::Op::repeat;
  EinopsPlan plan;
  if (!accepted(call, [&] { plan = EinopsPlan::make(op, call.text, shape, sizes); })) return false;
  require(well_formed_pattern(call.text), "a pattern that is not well-formed was accepted");
  if (elements(plan.repeated) > kSmall || elements(shape) > kSmall) return true;
  const bool structured = dice.chance(15) && !shape.empty() && shape.back() > 0;
  const Tensor x = structured ? operand(shape, true, dice) : counted(shape);
  const auto apply = [&](const Tensor& t) {
    if (op == Pattern::Op::reduce) return reduce(t, call.text, "sum", sizes);
    return op == Pattern::Op::rearrange ? rearrange(t, call.text, sizes) : repeat(t, call.text, sizes);
  };
  const Tensor y = apply(x);
  require(y.shape() == plan.result, "the result has another shape than was planned");
  const double copies = elements(shape) == 0 || op != Pattern::Op::repeat
                            ? 1
                            : static_cast<double>(y.size()) / static_cast<double>(x.size());
  require(total(y) == total(x) * copies, "a sum is not what it was");
  if (structured) {
    const Tensor expected = apply(dense(cast(x, DType::f64)));
    require(cast(dense(y), DType::f64).to_vector<double>() == expected.to_vector<double>(),
            "a structured one-hot gives other values than its dense form");
  } else if (op == Pattern::Op::rearrange) {
    std::vector<double> values = y.to_vector<double>();
    std::sort(values.begin(), values.end());
    require(values == x.to_vector<double>(), "elements were lost or doubled");
  }
  return true;
}

bool run_pack(const Call& call, Dice&) {
  std::vector<Tensor> xs;
  for (const Shape& shape : call.shapes) xs.push_back(counted(shape));
  Packed packed;
  if (!accepted(call, [&] { packed = pack(xs, call.text); })) return false;
  require(well_formed_pack(call.text), "a pattern of pack that is not well-formed was accepted");
  const std::vector<Tensor> back = unpack(packed.y, packed.shapes, call.text);
  require(back.size() == xs.size(), "unpack gives another number of tensors");
  for (std::size_t i = 0; i < xs.size(); ++i)
    require(back[i].shape() == xs[i].shape() && back[i].to_vector<double>() == xs[i].to_vector<double>(),
            "unpack is not the inverse of pack");
  return true;
}

// ---- the cases

Call draw(u64 number, Dice& dice) {
  if (number % 3 == 2) return draw_noise(dice);
  const i64 kind = dice.below(5);
  Call call = kind < 2 ? draw_einsum(dice) : kind < 4 ? draw_pattern(dice) : draw_pack(dice);
  if (number % 3 == 1) mutate(call, dice);
  return call;
}

std::string text_of(const Call& call) {
  std::string bytes, shapes, sizes;
  for (char c : call.text)
    bytes +=
        c >= 32 && c < 127 && c != '\\' ? std::string(1, c) : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  for (const Shape& s : call.shapes) shapes += " " + moegrad::to_string(s);
  for (const auto& [name, size] : call.sizes) sizes += fmt::format(" {}={}", name, size);
  return fmt::format("{} \"{}\" for{}{}", call.op, bytes, shapes.empty() ? " nothing" : shapes, sizes);
}

// The case that runs now, for a crash.
struct Running {
  u64 seed = 0, number = 0;
  Call call;
} running;
void report(const char* what) {
  std::fprintf(stderr, "fuzz_patterns: seed %llu, case %llu: %s\n  %s\n", static_cast<unsigned long long>(running.seed),
               static_cast<unsigned long long>(running.number), text_of(running.call).c_str(), what);
}
void crashed(int signal) {
  report("it crashes");
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

}  // namespace

// Called by sanitizers before they end the program.
extern "C" __attribute__((weak)) void __sanitizer_set_death_callback(void (*)());

int main(int argc, char** argv) {
  const auto argument = [&](int i, u64 otherwise) {
    return i < argc ? std::strtoull(argv[i], nullptr, 10) : otherwise;
  };
  const u64 count = argument(1, 10000), first = argument(3, 0);
  running.seed = argument(2, 1);
  for (int signal : {SIGSEGV, SIGABRT, SIGFPE}) std::signal(signal, crashed);
  if (__sanitizer_set_death_callback) __sanitizer_set_death_callback([] { report("a sanitizer stops here"); });
  u64 taken = 0, valid = 0;
  for (running.number = first; running.number < first + count; ++running.number) {
    Dice dice(running.seed, running.number);
    running.call = draw(running.number, dice);
    const Call& call = running.call;
    try {
      const bool ok = call.op == "einsum" ? run_einsum(call, dice)
                      : call.op == "pack" ? run_pack(call, dice)
                                          : run_pattern(call, dice);
      taken += ok ? 1 : 0;
      valid += call.valid ? 1 : 0;
    } catch (const std::exception& e) {
      report(e.what());
      return 1;
    }
  }
  std::printf("%llu texts of seed %llu: %llu accepted, of which %llu were valid by construction\n",
              static_cast<unsigned long long>(count), static_cast<unsigned long long>(running.seed),
              static_cast<unsigned long long>(taken), static_cast<unsigned long long>(valid));
  return 0;
}
