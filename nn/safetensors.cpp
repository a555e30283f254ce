#include "nn/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "core/atomic_file.h"
#include "core/autograd.h"
#include "ops/cast.h"

namespace moegrad {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "the format's numbers are little-endian");

constexpr u64 kMaxHeader = 100'000'000;  // the format's own limit
constexpr const char* kMetadata = "__metadata__";

// A type of the format, and the one that its values have here: U8 has no counterpart of its own and is read as i32.
struct FileType {
  const char* name;
  i64 bytes;
  DType dtype;
};
constexpr FileType kTypes[] = {{"F32", 4, DType::f32}, {"F64", 8, DType::f64}, {"BF16", 2, DType::bf16},
                               {"I64", 8, DType::i64}, {"I32", 4, DType::i32}, {"BOOL", 1, DType::boolean},
                               {"U8", 1, DType::i32}};

const char* file_name(DType t) {
  return std::find_if(std::begin(kTypes), std::end(kTypes), [t](const FileType& row) { return row.dtype == t; })->name;
}

// One tensor as the header describes it.
struct Entry {
  std::string name;
  FileType type;
  Shape shape;
  u64 begin, end;  // in bytes, from the end of the header
};

// ---- reading: text to entries, then every check, then values

class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path) {}
  TensorFile read();

 private:
  [[noreturn]] void fail(const std::string& what) const { throw IoError(fmt::format("{}: {}", path_, what)); }
  void open();
  json parse(const std::string& text) const;
  std::map<std::string, std::string> metadata_of(const json& value) const;
  Entry entry_of(const std::string& name, const json& value) const;
  Shape shape_of(const std::string& name, const json& value) const;
  void check_places(std::vector<Entry>& entries) const;
  Tensor values_of(const Entry& entry);

  std::string path_;
  std::ifstream in_;
  u64 header_bytes_ = 0, data_bytes_ = 0;
};

void Reader::open() {
  std::error_code error;
  const auto kind = std::filesystem::status(path_, error).type();
  if (kind == std::filesystem::file_type::not_found) fail("there is no such file");
  if (kind != std::filesystem::file_type::regular) fail("not a regular file");
  in_.open(path_, std::ios::binary | std::ios::ate);
  if (!in_) fail("it cannot be opened for reading");
  const auto size = static_cast<u64>(in_.tellg());
  in_.seekg(0);
  if (size < 8) fail(fmt::format("a safetensors file has at least 8 bytes; it has {}", size));
  in_.read(reinterpret_cast<char*>(&header_bytes_), 8);
  if (header_bytes_ > kMaxHeader)
    fail(fmt::format("the header may have at most {} bytes; its length says {}", kMaxHeader, header_bytes_));
  if (header_bytes_ > size - 8) fail(fmt::format("it ends inside its header: {} bytes of {}", size - 8, header_bytes_));
  data_bytes_ = size - 8 - header_bytes_;
}

json Reader::parse(const std::string& text) const {
  if (text.empty() || text[0] != '{') fail("the header must begin with '{'");
  std::set<std::string> outer, inner;
  const auto watch = [&](int depth, json::parse_event_t event, json& value) {
    using Event = json::parse_event_t;
    if ((event == Event::object_start || event == Event::array_start) && depth > 2)
      fail("the header is nested too deeply");
    if (event == Event::object_start) inner.clear();
    if (event == Event::key && !(depth == 1 ? outer : inner).insert(value.get<std::string>()).second)
      fail(fmt::format("the header has the name '{}' twice", value.get<std::string>()));
    return true;
  };
  try {
    return json::parse(text, watch);
  } catch (const json::exception& e) {
    fail(fmt::format("the header is not JSON: {}", e.what()));
  }
}

std::map<std::string, std::string> Reader::metadata_of(const json& value) const {
  std::map<std::string, std::string> metadata;
  if (!value.is_object()) fail("__metadata__ must be an object");
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) fail(fmt::format("__metadata__ must hold text only; '{}' is {}", key, text.type_name()));
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

Shape Reader::shape_of(const std::string& name, const json& value) const {
  if (!value.is_array()) fail(fmt::format("tensor '{}': its shape must be a list", name));
  if (value.size() > kMaxRank) fail(fmt::format("tensor '{}': at most {} axes; got {}", name, kMaxRank, value.size()));
  Shape shape;
  u64 product = 1;  // of the sizes that are not 0, so that it bounds every partial product
  for (const json& size : value) {
    if (!size.is_number_unsigned()) fail(fmt::format("tensor '{}': sizes must be whole numbers >= 0", name));
    const u64 n = size.get<u64>();
    if (n > 0 && product > (u64{1} << 56) / n) fail(fmt::format("tensor '{}': its shape is too large", name));
    if (n > 0) product *= n;
    shape.push_back(static_cast<i64>(n));
  }
  return shape;
}

Entry Reader::entry_of(const std::string& name, const json& value) const {
  if (!value.is_object() || value.size() != 3 || !value.contains("dtype") || !value.contains("shape") ||
      !value.contains("data_offsets"))
    fail(fmt::format("tensor '{}': it must have dtype, shape and data_offsets, and nothing else", name));
  const json &type = value["dtype"], &offsets = value["data_offsets"];
  const auto known = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const FileType& row) {
    return type.is_string() && type.get_ref<const std::string&>() == row.name;
  });
  if (known == std::end(kTypes))
    fail(fmt::format("tensor '{}': dtype must be F32, F64, BF16, I64, I32, BOOL or U8; got {}", name, type.dump()));
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned())
    fail(fmt::format("tensor '{}': data_offsets must be two whole numbers >= 0", name));
  Entry e{name, *known, shape_of(name, value["shape"]), offsets[0].get<u64>(), offsets[1].get<u64>()};
  if (e.begin > e.end || e.end > data_bytes_)
    fail(fmt::format("tensor '{}': its bytes {} to {} are not among the {} of the file", name, e.begin, e.end,
                     data_bytes_));
  const u64 needed = static_cast<u64>(e.shape.elements() * e.type.bytes);
  if (e.end - e.begin != needed)
    fail(fmt::format("tensor '{}': {} {} has {} bytes; its offsets say {}", name, e.type.name, to_string(e.shape),
                     needed, e.end - e.begin));
  return e;
}

// In the order of their places, the tensors must cover the data exactly.
void Reader::check_places(std::vector<Entry>& entries) const {
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  u64 at = 0;
  for (const Entry& e : entries) {
    if (e.begin != at)
      fail(
          fmt::format("tensor '{}': it begins at byte {}, where {} was expected: tensors must neither overlap nor "
                      "leave gaps",
                      e.name, e.begin, at));
    at = e.end;
  }
  if (at != data_bytes_) fail(fmt::format("its tensors have {} bytes, and {} follow the header", at, data_bytes_));
}

Tensor Reader::values_of(const Entry& entry) {
  Tensor x = empty(entry.shape, entry.type.dtype, Device::cpu);
  const bool widen = entry.type.bytes != byte_size(entry.type.dtype);
  std::vector<char> narrow(widen ? entry.end - entry.begin : 0);
  char* to = widen ? narrow.data() : reinterpret_cast<char*>(x.bytes());
  const auto count = static_cast<std::streamsize>(entry.end - entry.begin);
  if (!in_.read(to, count)) fail(fmt::format("tensor '{}': it could not be read to its end", entry.name));
  if (widen)
    std::transform(narrow.begin(), narrow.end(), x.data<i32>(), [](char c) { return static_cast<unsigned char>(c); });
  if (entry.type.dtype == DType::boolean && std::any_of(to, to + count, [](char c) { return c != 0 && c != 1; }))
    fail(fmt::format("tensor '{}': a BOOL must be 0 or 1", entry.name));
  return x;
}

TensorFile Reader::read() {
  open();
  std::string text(header_bytes_, '\0');
  if (!in_.read(text.data(), static_cast<std::streamsize>(header_bytes_))) fail("its header could not be read");
  const json header = parse(text);
  TensorFile file;
  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name == kMetadata)
      file.metadata = metadata_of(value);
    else
      entries.push_back(entry_of(name, value));
  }
  check_places(entries);
  for (const Entry& e : entries) file.tensors.push_back({e.name, values_of(e)});
  return file;
}

}  // namespace

TensorFile load_safetensors(const std::string& path) { return Reader(path).read(); }

// ---- writing

void save_safetensors(const std::string& path, const TensorFile& content) {
  no_grad guard;
  std::vector<const NamedTensor*> order;  // wide types first, so that every tensor is aligned to its type
  for (const NamedTensor& t : content.tensors) order.push_back(&t);
  std::stable_sort(order.begin(), order.end(), [](const NamedTensor* a, const NamedTensor* b) {
    return byte_size(a->tensor.dtype()) > byte_size(b->tensor.dtype());
  });
  json header = json::object();
  if (!content.metadata.empty()) header[kMetadata] = content.metadata;
  i64 at = 0;
  for (const NamedTensor* t : order) {
    const i64 end = at + t->tensor.size() * byte_size(t->tensor.dtype());
    if (t->name == kMetadata) throw IoError(fmt::format("{}: no tensor can have the name '{}'", path, kMetadata));
    if (header.contains(t->name))
      throw IoError(fmt::format("{}: every tensor needs a name of its own; got '{}' again", path, t->name));
    const Shape& shape = t->tensor.shape();
    header[t->name] = {{"dtype", file_name(t->tensor.dtype())},
                       {"shape", std::vector<i64>(shape.begin(), shape.end())},
                       {"data_offsets", {at, end}}};
    at = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const json::exception& e) {
    throw IoError(fmt::format("{}: names and metadata must be UTF-8: {}", path, e.what()));
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (text.size() > kMaxHeader)
    throw IoError(fmt::format("{}: the header may have at most {} bytes", path, kMaxHeader));
  AtomicFile file(path);
  const u64 header_bytes = text.size();
  file.write(&header_bytes, 8);
  file.write(text.data(), text.size());
  for (const NamedTensor* t : order) {
    const Tensor x = contiguous(t->tensor).to(Device::cpu);
    file.write(x.bytes() + x.body().offset * byte_size(x.dtype()),
               static_cast<std::size_t>(x.size() * byte_size(x.dtype())));
  }
  file.commit();
}

}  // namespace moegrad
