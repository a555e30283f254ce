// Text as training data for character-level language models.
#pragma once
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/philox.h"
#include "core/tensor.h"
#include "nn/batch_order.h"

namespace moegrad {

/// The distinct characters of a text, sorted: Unicode code points. A byte that is not UTF-8 is a character by itself,
/// so that any file can be encoded and decoded without loss.
class Vocabulary {
 public:
  explicit Vocabulary(const std::string& text);
  i64 size() const { return static_cast<i64>(characters_.size()); }
  /// Throws IndexError: a character that the text of the constructor did not have.
  std::vector<i32> encode(const std::string& text) const;
  std::string decode(std::span<const i32> ids) const;

 private:
  std::vector<std::string> characters_;  // the bytes of each
  std::map<std::string, i32> ids_;
};

/// A text in two parts: the first `fraction` of its characters to train on, the rest to validate.
struct TextData {
  explicit TextData(const std::string& text, double fraction = 0.9);
  Vocabulary vocabulary;
  std::vector<i32> training, validation;
};

/// Text and what follows each of its characters: targets[b, s] is the character behind inputs[b, s]. Both i64 [B, S].
struct Batch {
  Tensor inputs, targets;
};

/// Windows of a text at random places. The text lies where the batches are made: a GPU makes them without the host's
/// help.
class RandomBatches : public BatchOrder {
 public:
  /// Throws Error: the text has no S + 1 characters, or batch or block is below 1.
  RandomBatches(std::span<const i32> text, i64 batch, i64 block, u64 seed, Device device = default_device());
  Batch at(i64 i) const;
  Batch next() { return at(position_++); }
  /// The next batch in place of an older one, in the same tensors: what a captured graph reads.
  ///   Errors  Error: in a capture, which would repeat this batch for ever.  ShapeError, DTypeError, DeviceError: it is
  ///           no batch of these
  void next(const Batch& into);

 private:
  void fill(const Batch& batch, i64 i) const;
  Tensor text_;  // i32 [n]
  i64 batch_, block_;
};

/// A whole text in windows that follow each other: every character but the first is a target exactly once. The last
/// batch has fewer windows, and the last window, a batch of its own, may be shorter.
class WholeText {
 public:
  /// `text` must outlive this.  Throws Error: as RandomBatches, for a text of 2 characters.
  WholeText(std::span<const i32> text, i64 batch, i64 block, Device device = default_device());
  i64 batches() const;
  Batch at(i64 i) const;
  i64 targets() const { return static_cast<i64>(text_.size()) - 1; }

 private:
  std::span<const i32> text_;
  i64 batch_, block_;
  Device device_;
};

/// Mean negative log-likelihood, in nats per character, that counting in `training` gives on `validation` without its
/// first character. Unigram: p(b) = (n(b) + 1) / (n + V), with n characters of which n(b) are b, out of V different
/// ones.
double unigram_nats(std::span<const i32> training, std::span<const i32> validation, i64 vocabulary);
/// Bigram: p(b | a) = (n(ab) + c p(b)) / (n(a) + c) with the unigram's p(b) and c = 5, so that a pair never seen falls
/// back on the single character.
double bigram_nats(std::span<const i32> training, std::span<const i32> validation, i64 vocabulary);

/// The text of all files below the given folders and files of `root` whose names have one of the endings, in sorted
/// order. Folders that are absent are left out; links and hidden files are not followed.
///   Errors  IoError: a file cannot be read, or there is none
std::string gather_text(const std::string& root, const std::vector<std::string>& parts,
                        const std::vector<std::string>& endings);
/// The sources and documents of a checkout of moegrad.
std::string project_text(const std::string& root);

/// Windows of a text at random places: row b is text[s + 0 .. s + block), and its target the same from s + 1 on.
struct RandomWindows {
  const i32* text;
  i64 length, rows, block;
  u64 seed;
  u32 draw, step;
  MOEGRAD_HD i64 start(i64 row) const { return random::below(length - block, seed, draw, step, row); }
};
// Kernels, called only by nn/text_data.cpp.
namespace cpu {
void random_windows(const RandomWindows& w, i64* inputs, i64* targets);
}
namespace cuda {
void random_windows(const RandomWindows& w, i64* inputs, i64* targets);
}

}  // namespace moegrad
