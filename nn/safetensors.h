// Tensors in files, in the safetensors format: 8 bytes of header length (little-endian), a JSON header that gives each
// tensor's dtype, shape and place, then the values. Other programs read and write it, and nothing in it is executed.
#pragma once
#include <map>
#include <string>

#include "nn/module.h"

namespace moegrad {

/// What a file holds: tensors in the order of their places in the file, and text by key (`__metadata__`).
struct TensorFile {
  StateDict tensors;
  std::map<std::string, std::string> metadata;
};

/// Writes all tensors, or leaves `path` as it was (core/atomic_file.h).
///   Dtypes  every one: f32, f64, bf16, i64, i32, bool, as F32, F64, BF16, I64, I32, BOOL; any strides
///   Errors  IoError: the file cannot be written, two tensors have one name, a name is "__metadata__" or not UTF-8
void save_safetensors(const std::string& path, const TensorFile& content);

/// Reads a file that save_safetensors or another program wrote, into tensors on the CPU. The header is checked fully before any
/// tensor is made.
///   Dtypes  as above, and U8, which becomes i32
///   Errors  IoError, naming the file and what is wrong with it: absent, not a file, shorter or longer than its header
///           says, header too long or not JSON, a tensor's dtype unknown or its byte count not that of its shape,
///           tensors that overlap or leave a gap, a name twice
/// Source  https://github.com/huggingface/safetensors, "Format"
TensorFile load_safetensors(const std::string& path);

}  // namespace moegrad
