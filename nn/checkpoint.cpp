#include "nn/checkpoint.h"

#include <fmt/format.h>

#include "nn/safetensors.h"

namespace moegrad {
namespace {

constexpr const char* kFormat = "moegrad.checkpoint";
constexpr const char* kFormatVersion = "1";

// The small parts of a run as tensors.
struct SmallParts {
  Tensor random;    // i64 [3]: seed (its bits), step, draws
  Tensor batches;   // i64 [2]: seed (its bits), position
  Tensor schedule;  // f64 [2]: peak, floor
  Tensor steps;     // i64 [3]: warmup, total, step
};

SmallParts small_parts(const TrainingState& s) {
  const auto list = [](std::vector<i64> values) {
    return from_vector(values, {static_cast<i64>(values.size())}, DType::i64, Device::cpu);
  };
  return {list({static_cast<i64>(s.random.seed()), s.random.step(), s.random.drawn()}),
          list({static_cast<i64>(s.batches.seed()), s.batches.position()}),
          from_vector(std::vector<double>{s.schedule.peak, s.schedule.floor}, {2}, DType::f64, Device::cpu),
          list({s.schedule.warmup, s.schedule.total, s.step})};
}

void restore(const SmallParts& parts, TrainingState& s) {
  const auto random = parts.random.to_vector<i64>(), batches = parts.batches.to_vector<i64>(),
             steps = parts.steps.to_vector<i64>();
  const auto schedule = parts.schedule.to_vector<double>();
  s.random.restore(static_cast<u64>(random[0]), random[1], static_cast<u32>(random[2]));
  s.batches.restore(static_cast<u64>(batches[0]), batches[1]);
  s.schedule = {.peak = schedule[0], .floor = schedule[1], .warmup = steps[0], .total = steps[1]};
  s.step = steps[2];
}

// Views of everything that a checkpoint holds.
StateDict all_tensors(const TrainingState& s, const SmallParts& parts) {
  StateDict all;
  for (NamedTensor& t : s.model.state_dict()) all.push_back({"model." + t.name, t.tensor});
  for (NamedTensor& t : s.optimizer.state_dict()) all.push_back({"optimizer." + t.name, t.tensor});
  all.push_back({"random", parts.random});
  all.push_back({"batches", parts.batches});
  all.push_back({"schedule", parts.schedule});
  all.push_back({"steps", parts.steps});
  return all;
}

void check_notes(const std::string& path, const Notes& found, const Notes& wanted) {
  std::string different;
  for (const auto& [key, value] : wanted) {
    const auto at = found.find(key);
    if (at != found.end() && at->second == value) continue;
    different += fmt::format("{}{} = {} (here {})", different.empty() ? "" : ", ", key,
                             at == found.end() ? "nothing" : at->second, value);
  }
  if (!different.empty())
    throw IoError(fmt::format("{}: the checkpoint was made with other settings: {}", path, different));
}

}  // namespace

void save_checkpoint(const std::string& path, const TrainingState& state, const Notes& notes) {
  TensorFile file{all_tensors(state, small_parts(state)), notes};
  file.metadata[kFormat] = kFormatVersion;
  save_safetensors(path, file);
}

Notes load_checkpoint(const std::string& path, TrainingState state, const Notes& must_equal) {
  TensorFile file = load_safetensors(path);
  const auto version = file.metadata.find(kFormat);
  if (version == file.metadata.end() || version->second != kFormatVersion)
    throw IoError(fmt::format("{}: it is not a checkpoint of version {}", path, kFormatVersion));
  file.metadata.erase(version);
  check_notes(path, file.metadata, must_equal);
  const SmallParts parts = small_parts(state);
  try {
    copy_state(path.c_str(), all_tensors(state, parts), file.tensors);
  } catch (const Error& e) {
    throw IoError(e.what());
  }
  restore(parts, state);
  return file.metadata;
}

std::string fingerprint(const std::string& bytes) {
  u64 hash = 0xcbf29ce484222325;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return fmt::format("{:016x}", hash);
}

}  // namespace moegrad
