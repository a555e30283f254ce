#include "core/atomic_file.h"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <csignal>

#include "core/errors.h"
#include "tests/support/temporary_folder.h"

using namespace moegrad;
using namespace moegrad::test;

TEST_CASE("atomic_file: the old file stays until commit, and no temporary file is left behind") {
  TemporaryFolder folder;
  const std::string path = folder.file("a");
  write_text(path, "old");
  {
    AtomicFile file(path);
    file.write("new", 3);
    CHECK(read_file(path) == "old");
  }
  CHECK(read_file(path) == "old");
  CHECK(folder.count() == 1);
  AtomicFile file(path);
  file.write("new", 3);
  file.write("er", 2);
  file.commit();
  CHECK(read_file(path) == "newer");
  CHECK(folder.count() == 1);
}

TEST_CASE("atomic_file: what a killed process left is taken over; two writers at once are an error") {
  TemporaryFolder folder;
  const std::string path = folder.file("a");
  write_text(path + ".moegrad-tmp", "a long rest of an earlier process");
  AtomicFile first(path);
  CHECK_THROWS_WITH_AS(AtomicFile{path}, (path + ": another process is writing it").c_str(), IoError);
  first.write("x", 1);
  first.commit();
  CHECK(read_file(path) == "x");
  AtomicFile second(path);
  second.write("y", 1);
  second.commit();
  CHECK(read_file(path) == "y");
}

TEST_CASE("atomic_file: a full disk is an IoError and keeps the old file") {
  TemporaryFolder folder;
  const std::string path = folder.file("a");
  write_text(path, "old");
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 1000;
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string bytes(5000, 'x');
  CHECK_THROWS_WITH_AS(
      {
        AtomicFile file(path);
        file.write(bytes.data(), bytes.size());
      },
      (path + ": cannot write it: File too large").c_str(), IoError);
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  CHECK(read_file(path) == "old");
  CHECK(folder.count() == 1);
}

TEST_CASE("atomic_file: paths that cannot be written or read") {
  TemporaryFolder folder;
  CHECK_THROWS_WITH_AS(AtomicFile(folder.file("no/such/folder")),
                       (folder.file("no/such/folder") + ": cannot write it: No such file or directory").c_str(),
                       IoError);
  CHECK_THROWS_WITH_AS(
      {
        std::filesystem::create_directory(folder.file("d"));
        AtomicFile file(folder.file("d"));
        file.commit();
      },
      (folder.file("d") + ": cannot replace it: Is a directory").c_str(), IoError);
  CHECK_THROWS_WITH_AS(read_file(folder.file("none")), (folder.file("none") + ": there is no such file").c_str(),
                       IoError);
  CHECK_THROWS_WITH_AS(read_file(folder.file("d")), (folder.file("d") + ": not a regular file").c_str(), IoError);
  write_text(folder.file("b"), "12345");
  CHECK_THROWS_WITH_AS(read_file(folder.file("b"), 4),
                       (folder.file("b") + ": at most 4 bytes are read; it has 5").c_str(), IoError);
}
