#include "nn/safetensors.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "core/atomic_file.h"
#include "core/philox.h"
#include "ops/views.h"
#include "tests/support/check_op.h"
#include "tests/support/temporary_folder.h"

using namespace moegrad;
using namespace moegrad::test;

namespace {

// A file by hand: header length, header, data.
std::string file_of(const std::string& header, std::size_t data_bytes, i64 lie = 0) {
  const i64 n = static_cast<i64>(header.size()) + lie;
  return std::string(reinterpret_cast<const char*>(&n), 8) + header + std::string(data_bytes, '\1');
}

// The text of the error that reading these bytes gives, without the path; "" if there is none.
std::string error_of(const TemporaryFolder& folder, const std::string& bytes) {
  const std::string path = folder.file("x");
  write_text(path, bytes);
  try {
    load_safetensors(path);
  } catch (const IoError& e) {
    return std::string(e.what()).substr(path.size() + 2);
  }
  return "";
}

TensorFile sample() {
  return {{{"a.weight", tensor({{1, 2, 3}, {4, 5, 6}})},
           {"flags", tensor({1, 0, 1}, DType::boolean)},
           {"b", from_vector(std::vector<double>{0.1, -2.5}, {2})},
           {"step", scalar(1e15, DType::i64)},
           {"narrow", tensor({{0.1, -2, 1e30}, {3, 4, 5}}, DType::bf16)},
           {"none", zeros({0, 4}, DType::i32)}},
          {{"format", "pt"}, {"note", "caf\xc3\xa9 \"quoted\""}}};
}

}  // namespace

TEST_CASE("safetensors: what is saved is loaded, with dtypes, strides, empty tensors and metadata") {
  TemporaryFolder folder;
  const std::string path = folder.file("m.safetensors");
  TensorFile content = sample();
  content.tensors.push_back({"turned", transpose(content.tensors[0].tensor)});
  content.tensors.push_back({"repeated", expand(tensor({7}), {3})});
  save_safetensors(path, content);
  const TensorFile loaded = load_safetensors(path);
  CHECK(loaded.metadata == content.metadata);
  REQUIRE(loaded.tensors.size() == content.tensors.size());
  for (const NamedTensor& t : loaded.tensors) {
    CAPTURE(t.name);
    const auto at = std::find_if(content.tensors.begin(), content.tensors.end(),
                                 [&](const NamedTensor& c) { return c.name == t.name; });
    REQUIRE(at != content.tensors.end());
    CHECK(t.tensor.dtype() == at->tensor.dtype());
    CHECK(difference(t.tensor, at->tensor) == 0);
  }
  CHECK(folder.count() == 1);
}

TEST_CASE("safetensors: U8 of another program is read as i32") {
  TemporaryFolder folder;
  const std::string path = folder.file("u8.safetensors");
  std::string bytes = file_of(R"({"w":{"dtype":"U8","shape":[2,2],"data_offsets":[0,4]}})", 4);
  bytes[bytes.size() - 1] = '\xff';
  write_text(path, bytes);
  const TensorFile file = load_safetensors(path);
  CHECK(describe(file.tensors.at(0).tensor) == "i32 [2, 2]");
  CHECK(file.tensors[0].tensor.to_vector<int>() == std::vector<int>{1, 1, 1, 255});
}

TEST_CASE("safetensors: the bytes are those of the format") {
  TemporaryFolder folder;
  save_safetensors(folder.file("x"),
                   {{{"b", tensor({1, 0}, DType::boolean)}, {"w", tensor({1.0, 2.0})}}, {{"k", "v"}}});
  const std::string header = R"({"__metadata__":{"k":"v"},"b":{"data_offsets":[8,10],"dtype":"BOOL","shape":[2]},)"
                             R"("w":{"data_offsets":[0,8],"dtype":"F32","shape":[2]}})";
  std::string expected = header;
  expected.resize((header.size() + 7) / 8 * 8, ' ');
  const u64 n = expected.size();
  const float values[] = {1, 2};
  expected = std::string(reinterpret_cast<const char*>(&n), 8) + expected +
             std::string(reinterpret_cast<const char*>(values), 8) + std::string("\1\0", 2);
  CHECK(read_file(folder.file("x")) == expected);
}

TEST_CASE("safetensors: a file that contradicts itself is an IoError that says how") {
  const TemporaryFolder folder;
  const auto entry = [](const char* type, const char* shape, const char* offsets) {
    return fmt::format(R"({{"w":{{"dtype":{},"shape":{},"data_offsets":{}}}}})", type, shape, offsets);
  };
  const std::pair<std::string, const char*> rows[] = {
      {"", "a safetensors file has at least 8 bytes; it has 0"},
      {"1234567", "a safetensors file has at least 8 bytes; it has 7"},
      {file_of("{}", 0, 1), "it ends inside its header: 2 bytes of 3"},
      {file_of("{}", 0, 99'999'999), "the header may have at most 100000000 bytes; its length says 100000001"},
      {file_of("{}", 0, -3), "the header may have at most 100000000 bytes; its length says 18446744073709551615"},
      {file_of("", 0), "the header must begin with '{'"},
      {file_of("[]", 0), "the header must begin with '{'"},
      {file_of("{\"a\":1}", 0), "tensor 'a': it must have dtype, shape and data_offsets, and nothing else"},
      {file_of("{\"a\":[[[[", 0), "the header is nested too deeply"},
      {file_of(R"({"a":{},"a":{}})", 0), "the header has the name 'a' twice"},
      {file_of(R"({"a":{"dtype":"F32","dtype":"F32"}})", 0), "the header has the name 'dtype' twice"},
      {file_of(R"({"__metadata__":[]})", 0), "__metadata__ must be an object"},
      {file_of(R"({"__metadata__":{"k":1}})", 0), "__metadata__ must hold text only; 'k' is number"},
      {file_of(entry("\"F16\"", "[1]", "[0,2]"), 2),
       "tensor 'w': dtype must be F32, F64, BF16, I64, I32, BOOL or U8; got \"F16\""},
      {file_of(entry("7", "[1]", "[0,2]"), 2), "tensor 'w': dtype must be F32, F64, BF16, I64, I32, BOOL or U8; got 7"},
      {file_of(entry("\"F32\"", "2", "[0,8]"), 8), "tensor 'w': its shape must be a list"},
      {file_of(entry("\"F32\"", "[-2]", "[0,8]"), 8), "tensor 'w': sizes must be whole numbers >= 0"},
      {file_of(entry("\"F32\"", "[2.0]", "[0,8]"), 8), "tensor 'w': sizes must be whole numbers >= 0"},
      {file_of(entry("\"F32\"", "[1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,4]"), 4), "tensor 'w': at most 12 axes; got 13"},
      {file_of(entry("\"F32\"", "[4294967296,4294967296]", "[0,0]"), 0), "tensor 'w': its shape is too large"},
      {file_of(entry("\"F32\"", "[18446744073709551615]", "[0,0]"), 0), "tensor 'w': its shape is too large"},
      {file_of(entry("\"F32\"", "[0,18446744073709551615]", "[0,0]"), 0), "tensor 'w': its shape is too large"},
      {file_of(entry("\"F32\"", "[2]", "[0]"), 8), "tensor 'w': data_offsets must be two whole numbers >= 0"},
      {file_of(entry("\"F32\"", "[2]", "[8,0]"), 8), "tensor 'w': its bytes 8 to 0 are not among the 8 of the file"},
      {file_of(entry("\"F32\"", "[2]", "[0,8]"), 7), "tensor 'w': its bytes 0 to 8 are not among the 7 of the file"},
      {file_of(entry("\"F32\"", "[2]", "[0,4]"), 4), "tensor 'w': F32 [2] has 8 bytes; its offsets say 4"},
      {file_of(entry("\"F32\"", "[2]", "[0,8]"), 9), "its tensors have 8 bytes, and 9 follow the header"},
      {file_of(entry("\"F32\"", "[1]", "[4,8]"), 8),
       "tensor 'w': it begins at byte 4, where 0 was expected: tensors must neither overlap nor leave gaps"},
      {file_of(R"({"a":{"dtype":"I32","shape":[2],"data_offsets":[0,8]},)"
               R"("b":{"dtype":"I32","shape":[1],"data_offsets":[4,8]}})",
               8),
       "tensor 'b': it begins at byte 4, where 8 was expected: tensors must neither overlap nor leave gaps"},
      {file_of(entry("\"BOOL\"", "[1]", "[0,1]"), 0).append("\2"), "tensor 'w': a BOOL must be 0 or 1"},
  };
  for (const auto& [bytes, text] : rows) CHECK(error_of(folder, bytes) == text);
  CHECK(error_of(folder, file_of("{\"a\": nul}", 0)).find("the header is not JSON: ") == 0);
  CHECK(error_of(folder, file_of("{\"\xff\":1}", 0)).find("the header is not JSON: ") == 0);
  CHECK(error_of(folder, file_of("{}   ", 0)) == "");
}

TEST_CASE(
    "safetensors: truncated anywhere, or with any bits changed, it loads or is an IoError, and allocates little") {
  const TemporaryFolder folder;
  const std::string path = folder.file("x");
  save_safetensors(path, sample());
  const std::string good = read_file(path);
  for (std::size_t n = 0; n < good.size(); ++n) CHECK(error_of(folder, good.substr(0, n)) != "");
  CHECK(error_of(folder, good) == "");
  CHECK(error_of(folder, good + "x") != "");
  memory::AllocationLog log;
  int refused = 0;
  for (u32 round = 0; round < 10000; ++round) {
    std::string bytes = good;
    const i64 changes = 1 + random::below(4, 99, 0, round, 0);
    for (i64 c = 0; c < changes; ++c) {
      const auto at = static_cast<std::size_t>(random::below(static_cast<i64>(good.size()), 99, 1, round, c));
      const auto to = static_cast<char>(random::below(256, 99, 2, round, c));
      bytes[at] = random::below(2, 99, 3, round, c) == 0 ? to : static_cast<char>(bytes[at] ^ (1 << (to & 7)));
    }
    refused += error_of(folder, bytes) != "";
  }
  CHECK(refused > 5000);
  CHECK(refused < 10000);
  CHECK(log.largest() <= static_cast<i64>(good.size()));
}

TEST_CASE("safetensors: what cannot be written leaves no file; what is no file cannot be read") {
  const TemporaryFolder folder;
  const std::string path = folder.file("x");
  CHECK_THROWS_WITH_AS(save_safetensors(path, {{{"a", zeros({1})}, {"a", zeros({1})}}, {}}),
                       (path + ": every tensor needs a name of its own; got 'a' again").c_str(), IoError);
  CHECK_THROWS_WITH_AS(save_safetensors(path, {{{"__metadata__", zeros({1})}}, {}}),
                       (path + ": no tensor can have the name '__metadata__'").c_str(), IoError);
  CHECK_THROWS_WITH_AS(
      save_safetensors(path, {{{"\xff", zeros({1})}}, {}}),
      (path + ": names and metadata must be UTF-8: [json.exception.type_error.316] invalid UTF-8 byte at index 0: 0xFF")
          .c_str(),
      IoError);
  CHECK(folder.count() == 0);
  CHECK_THROWS_WITH_AS(load_safetensors(path), (path + ": there is no such file").c_str(), IoError);
  CHECK_THROWS_WITH_AS(load_safetensors(folder.file("")), (folder.file("") + ": not a regular file").c_str(), IoError);
  CHECK_THROWS_WITH_AS(load_safetensors("/dev/zero"), "/dev/zero: not a regular file", IoError);
}
