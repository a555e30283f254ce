// Files that are either complete or not there.
#pragma once
#include <cstddef>
#include <string>

namespace moegrad {

/// Writes `path` by way of `path`.moegrad-tmp in the same folder: whatever happens before `commit`, the old file stays
/// as it was; whoever looks after it sees the whole new one, also after a power cut (file and folder are flushed to
/// disk).
///   Errors  IoError: the folder or file cannot be written, the disk is full, or another process writes the same file
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  /// Removes what was written, unless it was committed.
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* bytes, std::size_t count);
  /// Puts the new file in the place of the old one.
  void commit();

 private:
  [[noreturn]] void fail(const char* what) const;
  std::string path_, temporary_;
  int file_ = -1;
};

/// The whole file. Throws IoError: it is absent, not a regular file, unreadable, or larger than `limit` bytes.
std::string read_file(const std::string& path, std::size_t limit = std::size_t{1} << 40);

}  // namespace moegrad
