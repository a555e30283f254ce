#include "nn/text_data.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <set>

#include "tests/support/temporary_folder.h"

using namespace moegrad;
using namespace moegrad::test;

TEST_CASE("vocabulary: code points in order, and any bytes come back as they were") {
  const std::string text = "ba\xc3\xa9\n\xe2\x82\xac\xf0\x9f\x98\x80 \xff\xc3(\xe2\x82";
  const Vocabulary vocabulary(text);
  // newline, space, (, a, b, then e acute, euro, smiley, and the stray bytes 82 c3 e2 ff
  CHECK(vocabulary.size() == 12);
  const auto ids = vocabulary.encode(text);
  CHECK(ids.size() == 12);
  CHECK(vocabulary.decode(ids) == text);
  CHECK(vocabulary.encode("ab") == std::vector<i32>{3, 4});
  CHECK_THROWS_WITH_AS(vocabulary.encode("az"), "vocabulary: every character must be one of the 12 known; got 'z'",
                       IndexError);
  CHECK_THROWS_WITH_AS(vocabulary.decode(std::vector<i32>{12}),
                       "vocabulary: a character's number must be in [0, 12); got 12", IndexError);
}

TEST_CASE("text data: the first nine tenths are for training") {
  const TextData data("0123456789abcdefghij");
  CHECK(data.vocabulary.decode(data.training) == "0123456789abcdefgh");
  CHECK(data.vocabulary.decode(data.validation) == "ij");
}

TEST_CASE("random batches: windows of the text and what follows; batch i depends on seed and i alone") {
  std::vector<i32> text(100);
  for (int i = 0; i < 100; ++i) text[static_cast<std::size_t>(i)] = i;
  RandomBatches batches(text, 3, 4, 9), again(text, 3, 4, 9), other(text, 3, 4, 10);
  std::set<i64> starts;
  for (int i = 0; i < 400; ++i) {
    const Batch batch = batches.next();
    const auto in = batch.inputs.to_vector<i64>(), out = batch.targets.to_vector<i64>();
    for (std::size_t k = 0; k < 12; ++k) {
      CHECK(out[k] == in[k] + 1);
      if (k % 4 != 0) CHECK(in[k] == in[k - 1] + 1);
      if (k % 4 == 0) starts.insert(in[k]);
    }
  }
  CHECK(starts.size() == 96);  // 0 .. 95: the last window's last target is 99
  CHECK(batches.position() == 400);
  again.restore(9, 17);
  CHECK(again.next().inputs.to_vector<i64>() == batches.at(17).inputs.to_vector<i64>());
  CHECK(other.at(17).inputs.to_vector<i64>() != batches.at(17).inputs.to_vector<i64>());
  CHECK_THROWS_WITH_AS(RandomBatches(std::span<const i32>(text).first(4), 3, 4, 1),
                       "random batches: the text must have at least 5 characters; got 4", Error);
  CHECK_THROWS_WITH_AS(RandomBatches(text, 0, 4, 1), "random batches: batch and block must be at least 1; got 0 and 4",
                       Error);
}

TEST_CASE("random batches: the next one in the tensors of an older one, the same on every device") {
  std::vector<i32> text(100);
  for (int i = 0; i < 100; ++i) text[static_cast<std::size_t>(i)] = i;
  RandomBatches batches(text, 3, 4, 9), same(text, 3, 4, 9, Device::cpu);
  const Batch batch = batches.at(7);
  for (int i = 0; i < 5; ++i) {
    batches.next(batch);
    const Batch want = same.next();
    CHECK(batch.inputs.to_vector<i64>() == want.inputs.to_vector<i64>());
    CHECK(batch.targets.to_vector<i64>() == want.targets.to_vector<i64>());
  }
  CHECK(batches.position() == 5);
  CHECK_THROWS_WITH_AS(batches.next({batch.inputs, zeros({4, 3}, DType::i64)}),
                       "random batches: the tensors must be those of a batch, [3, 4]; got [4, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(batches.next({zeros({3, 4}), batch.targets}), "random batches: x must be i64; got f32",
                       DTypeError);
  CHECK(batches.position() == 5);
}

TEST_CASE("whole text: every character but the first is a target once, in order") {
  for (const i64 n : {2, 3, 12, 13, 14, 24, 25, 26, 37}) {
    std::vector<i32> text(static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<i32>(i);
    const WholeText whole(text, 3, 4);
    std::vector<i64> in, out;
    for (i64 i = 0; i < whole.batches(); ++i) {
      const Batch batch = whole.at(i);
      for (const i64 v : batch.inputs.to_vector<i64>()) in.push_back(v);
      for (const i64 v : batch.targets.to_vector<i64>()) out.push_back(v);
    }
    REQUIRE(static_cast<i64>(out.size()) == n - 1);
    CHECK(whole.targets() == n - 1);
    for (i64 i = 0; i + 1 < n; ++i)
      CHECK((in[static_cast<std::size_t>(i)] == i && out[static_cast<std::size_t>(i)] == i + 1));
    const i64 end = whole.batches();
    CHECK_THROWS_WITH_AS(whole.at(end),
                         fmt::format("whole text: a batch's number must be in [0, {}); got {}", end, end).c_str(),
                         IndexError);
  }
}

TEST_CASE("baselines: by hand") {
  const std::vector<i32> training{0, 1, 0, 1, 0, 2}, validation{1, 0, 1};
  // unigram with V = 3: p = (4, 3, 2) / 9; validated on 0, 1
  CHECK(unigram_nats(training, validation, 3) == doctest::Approx(-(std::log(4.0 / 9) + std::log(3.0 / 9)) / 2));
  // pairs: 01 twice, 10 twice, 02 once
  const double p0 = (2 + 5 * 4.0 / 9) / (2 + 5), p1 = (2 + 5 * 3.0 / 9) / (3 + 5);
  CHECK(bigram_nats(training, validation, 3) == doctest::Approx(-(std::log(p0) + std::log(p1)) / 2));
  // a text of independent, equally likely characters: ln V for both
  std::vector<i32> noise;
  for (u64 i = 0, x = 1; i < 200000; ++i, x = x * 6364136223846793005u + 1442695040888963407u)
    noise.push_back(static_cast<i32>(x >> 61));
  CHECK(bigram_nats(noise, noise, 8) == doctest::Approx(std::log(8)).epsilon(1e-3));
}

TEST_CASE("gather_text: sorted by name, by ending, without hidden files and links") {
  TemporaryFolder folder;
  namespace fs = std::filesystem;
  fs::create_directories(folder.file("b/c"));
  write_text(folder.file("b/z.h"), "3");
  write_text(folder.file("b/c/y.cpp"), "2");
  write_text(folder.file("b/c/y.o"), "no");
  write_text(folder.file("b/.hidden.h"), "no");
  write_text(folder.file("README.md"), "1");
  fs::create_symlink(folder.file("b/z.h"), folder.file("b/link.h"));
  CHECK(gather_text(folder.file(""), {"b", "README.md", "absent"}, {".h", ".cpp", ".md"}) == "123");
  CHECK_THROWS_WITH_AS(gather_text(folder.file(""), {"absent"}, {".h"}),
                       (folder.file("") + ": there is no text in it").c_str(), IoError);
  const std::string text = project_text(".");  // tests run in the project's folder
  CHECK(text.size() > 100'000);
  CHECK(text.find("std::string project_text(") != std::string::npos);
}
