#include "nn/text_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>
#include <unordered_map>

#include "core/atomic_file.h"
#include "core/cuda.h"

namespace moegrad {
namespace {

// Bytes of the character that begins at `at`: 1 also where the bytes are not UTF-8.
std::size_t character_bytes(const std::string& text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const unsigned first = byte(at);
  const std::size_t n = first < 0xC2 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 1;
  for (std::size_t i = 1; i < n; ++i)
    if ((byte(at + i) & 0xC0) != 0x80) return 1;
  return n;
}

template <class Visit> void for_each_character(const std::string& text, Visit visit) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t n = character_bytes(text, at);
    visit(text.substr(at, n));
    at += n;
  }
}

}  // namespace

// ---- characters

Vocabulary::Vocabulary(const std::string& text) {
  std::set<std::string> seen;  // sorted by bytes, which for UTF-8 is the order of code points
  for_each_character(text, [&](const std::string& c) { seen.insert(c); });
  characters_.assign(seen.begin(), seen.end());
  for (const std::string& c : characters_) ids_.emplace(c, static_cast<i32>(ids_.size()));
}

std::vector<i32> Vocabulary::encode(const std::string& text) const {
  std::vector<i32> ids;
  ids.reserve(text.size());
  for_each_character(text, [&](const std::string& c) {
    const auto at = ids_.find(c);
    if (at == ids_.end())
      throw IndexError(fmt::format("vocabulary: every character must be one of the {} known; got '{}'", size(), c));
    ids.push_back(at->second);
  });
  return ids;
}

std::string Vocabulary::decode(std::span<const i32> ids) const {
  std::string text;
  for (const i32 id : ids) {
    if (id < 0 || id >= size())
      throw IndexError(fmt::format("vocabulary: a character's number must be in [0, {}); got {}", size(), id));
    text += characters_[static_cast<std::size_t>(id)];
  }
  return text;
}

TextData::TextData(const std::string& text, double fraction) : vocabulary(text) {
  if (!(fraction >= 0 && fraction <= 1))
    throw Error(fmt::format("text data: the training part must be a fraction in [0, 1]; got {}", fraction));
  training = vocabulary.encode(text);
  const auto cut = training.begin() + static_cast<i64>(fraction * static_cast<double>(training.size()));
  validation.assign(cut, training.end());
  training.erase(cut, training.end());
}

// ---- batches

namespace {

Batch make_batch(std::span<const i32> text, i64 rows, i64 block, const std::vector<i64>& starts, Device device) {
  Batch batch{empty({rows, block}, DType::i64, Device::cpu), empty({rows, block}, DType::i64, Device::cpu)};
  i64 *in = batch.inputs.data<i64>(), *out = batch.targets.data<i64>();
  for (const i64 start : starts) {
    const i32* from = text.data() + start;
    in = std::copy(from, from + block, in);
    out = std::copy(from + 1, from + block + 1, out);
  }
  return {batch.inputs.to(device), batch.targets.to(device)};
}

void check_windows(const char* who, std::span<const i32> text, i64 batch, i64 block, i64 least) {
  if (batch < 1 || block < 1)
    throw Error(fmt::format("{}: batch and block must be at least 1; got {} and {}", who, batch, block));
  if (static_cast<i64>(text.size()) < least)
    throw Error(fmt::format("{}: the text must have at least {} characters; got {}", who, least, text.size()));
}

constexpr u32 kBatchDraw = 0xBA7C0000;  // far from the numbers that a Random of the same seed hands out

}  // namespace

RandomBatches::RandomBatches(std::span<const i32> text, i64 batch, i64 block, u64 seed, Device device)
    : BatchOrder(seed), batch_(batch), block_(block) {
  check_windows("random batches", text, batch, block, block + 1);
  text_ = from_vector(text, {static_cast<i64>(text.size())}, DType::i32, device);
}

void RandomBatches::fill(const Batch& batch, i64 i) const {
  const RandomWindows windows{text_.data<i32>(), text_.size(), batch_, block_, seed_, kBatchDraw, static_cast<u32>(i)};
  MOEGRAD_LAUNCH(text_.device(), random_windows, windows, writable<i64>(batch.inputs), writable<i64>(batch.targets));
}

Batch RandomBatches::at(i64 i) const {
  const auto make = [&] { return empty({batch_, block_}, DType::i64, text_.device()); };
  const Batch batch{make(), make()};
  fill(batch, i);
  return batch;
}

void RandomBatches::next(const Batch& into) {
  if constexpr (kWithCuda)
    if (text_.device() == Device::cuda && cuda::capturing())
      throw Error("random batches: a batch must be made before a captured graph is replayed, not in it");
  for (const Tensor& x : {into.inputs, into.targets}) {
    check_same_device("random batches", text_, x);
    if (x.dtype() != DType::i64) throw_dtype("random batches", "i64", x.dtype());
    if (x.shape() != Shape{batch_, block_} || !x.is_contiguous())
      throw ShapeError(fmt::format("random batches: the tensors must be those of a batch, {}; got {}",
                                   to_string(Shape{batch_, block_}), to_string(x.shape())));
  }
  fill(into, position_++);
}

// ---- CPU kernel

void cpu::random_windows(const RandomWindows& w, i64* inputs, i64* targets) {
  for (i64 row = 0; row < w.rows; ++row) {
    const i32* from = w.text + w.start(row);
    inputs = std::copy(from, from + w.block, inputs);
    targets = std::copy(from + 1, from + w.block + 1, targets);
  }
}

// ---- all of a text

WholeText::WholeText(std::span<const i32> text, i64 batch, i64 block, Device device)
    : text_(text), batch_(batch), block_(block), device_(device) {
  check_windows("whole text", text, batch, block, 2);
}

i64 WholeText::batches() const {
  const i64 full = targets() / block_;
  return (full + batch_ - 1) / batch_ + (targets() % block_ != 0 ? 1 : 0);
}

Batch WholeText::at(i64 i) const {
  const i64 full = targets() / block_;
  if (i < 0 || i >= batches())
    throw IndexError(fmt::format("whole text: a batch's number must be in [0, {}); got {}", batches(), i));
  if (i * batch_ >= full) return make_batch(text_, 1, targets() % block_, {full * block_}, device_);
  std::vector<i64> starts;
  for (i64 w = i * batch_; w < std::min(full, (i + 1) * batch_); ++w) starts.push_back(w * block_);
  return make_batch(text_, static_cast<i64>(starts.size()), block_, starts, device_);
}

// ---- baselines

namespace {

std::vector<double> unigram(std::span<const i32> training, i64 vocabulary) {
  std::vector<double> p(static_cast<std::size_t>(vocabulary), 1);
  for (const i32 c : training) p[static_cast<std::size_t>(c)] += 1;
  for (double& v : p) v /= static_cast<double>(training.size()) + static_cast<double>(vocabulary);
  return p;
}

}  // namespace

double unigram_nats(std::span<const i32> training, std::span<const i32> validation, i64 vocabulary) {
  check_windows("unigram", validation, 1, 1, 2);
  const std::vector<double> p = unigram(training, vocabulary);
  double nats = 0;
  for (const i32 c : validation.subspan(1)) nats -= std::log(p[static_cast<std::size_t>(c)]);
  return nats / static_cast<double>(validation.size() - 1);
}

double bigram_nats(std::span<const i32> training, std::span<const i32> validation, i64 vocabulary) {
  check_windows("bigram", validation, 1, 1, 2);
  constexpr double kPrior = 5;  // weight of the unigram, in characters
  const std::vector<double> p = unigram(training, vocabulary);
  std::unordered_map<i64, double> pairs;
  std::vector<double> firsts(static_cast<std::size_t>(vocabulary), 0);
  for (std::size_t i = 1; i < training.size(); ++i) {
    pairs[training[i - 1] * vocabulary + training[i]] += 1;
    firsts[static_cast<std::size_t>(training[i - 1])] += 1;
  }
  double nats = 0;
  for (std::size_t i = 1; i < validation.size(); ++i) {
    const i32 a = validation[i - 1], b = validation[i];
    const auto seen = pairs.find(a * vocabulary + b);
    const double n = seen == pairs.end() ? 0 : seen->second;
    nats -= std::log((n + kPrior * p[static_cast<std::size_t>(b)]) / (firsts[static_cast<std::size_t>(a)] + kPrior));
  }
  return nats / static_cast<double>(validation.size() - 1);
}

// ---- text from folders

std::string gather_text(const std::string& root, const std::vector<std::string>& parts,
                        const std::vector<std::string>& endings) {
  namespace fs = std::filesystem;
  const auto wanted = [&](const fs::path& path) {
    const std::string name = path.filename().string();
    return name[0] != '.' && std::any_of(endings.begin(), endings.end(), [&](const std::string& e) {
             return name.size() >= e.size() && name.compare(name.size() - e.size(), e.size(), e) == 0;
           });
  };
  std::vector<std::pair<std::string, fs::path>> files;  // by name relative to root, so that all checkouts agree
  const auto take = [&](const fs::path& path) {
    if (fs::is_regular_file(fs::symlink_status(path)) && wanted(path))
      files.emplace_back(path.lexically_relative(root).generic_string(), path);
  };
  for (const std::string& part : parts) {
    const fs::path path = fs::path(root) / part;
    if (fs::is_directory(fs::symlink_status(path)))
      for (const auto& entry : fs::recursive_directory_iterator(path)) take(entry.path());
    else
      take(path);
  }
  if (files.empty()) throw IoError(fmt::format("{}: there is no text in it", root));
  std::sort(files.begin(), files.end());
  std::string text;
  for (const auto& [name, path] : files) text += read_file(path.string());
  return text;
}

std::string project_text(const std::string& root) {
  return gather_text(root, {"README.md", "CMakeLists.txt", "core", "ops", "nn", "cuda", "examples", "tests"},
                     {".h", ".cpp", ".cu", ".cuh", ".md", ".txt", ".cmake", ".sh"});
}

}  // namespace moegrad
