#include "core/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "core/errors.h"

namespace moegrad {
namespace {

// True where `path` still names the open file, and not a newer one of the same name.
bool names_file(const std::string& path, int file) {
  struct stat by_name {};
  struct stat opened {};
  return stat(path.c_str(), &by_name) == 0 && fstat(file, &opened) == 0 && by_name.st_ino == opened.st_ino &&
         by_name.st_dev == opened.st_dev;
}

// A rename is on disk only once its folder is. Some file systems cannot flush a folder; that is no error.
void flush_folder(const std::string& path) {
  const auto folder = std::filesystem::path(path).parent_path();
  const int file = open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  fsync(file);
  close(file);
}

}  // namespace

void AtomicFile::fail(const char* what) const {
  throw IoError(fmt::format("{}: cannot {} it: {}", path_, what, std::strerror(errno)));
}

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)), temporary_(path_ + ".moegrad-tmp") {
  file_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (file_ < 0) fail("write");
  // A killed process leaves its temporary file, but not its lock: the next writer takes both over.
  if (flock(file_, LOCK_EX | LOCK_NB) != 0 || !names_file(temporary_, file_)) {
    close(file_);
    throw IoError(fmt::format("{}: another process is writing it", path_));
  }
  if (ftruncate(file_, 0) != 0) {
    close(file_);
    fail("write");
  }
}

AtomicFile::~AtomicFile() {
  if (file_ < 0) return;
  unlink(temporary_.c_str());
  close(file_);
}

void AtomicFile::write(const void* bytes, std::size_t count) {
  const char* from = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t written = ::write(file_, from, count);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("write");
    from += written;
    count -= static_cast<std::size_t>(written);
  }
}

void AtomicFile::commit() {
  if (fsync(file_) != 0) fail("flush");
  if (rename(temporary_.c_str(), path_.c_str()) != 0) fail("replace");
  close(file_);  // only now, so that the lock covers the rename
  file_ = -1;
  flush_folder(path_);
}

std::string read_file(const std::string& path, std::size_t limit) {
  std::error_code error;
  const auto kind = std::filesystem::status(path, error).type();
  if (kind == std::filesystem::file_type::not_found) throw IoError(fmt::format("{}: there is no such file", path));
  if (kind != std::filesystem::file_type::regular) throw IoError(fmt::format("{}: not a regular file", path));
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  if (!in) throw IoError(fmt::format("{}: cannot read it: {}", path, std::strerror(errno)));
  const auto size = static_cast<std::size_t>(in.tellg());
  if (size > limit) throw IoError(fmt::format("{}: at most {} bytes are read; it has {}", path, limit, size));
  std::string bytes(size, '\0');
  in.seekg(0);
  if (!in.read(bytes.data(), static_cast<std::streamsize>(size)))
    throw IoError(fmt::format("{}: it could not be read to its end", path));
  return bytes;
}

}  // namespace moegrad
