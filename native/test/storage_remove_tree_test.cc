// Removal of trees: all of it, nothing that a link or a mount leads to, also when somebody swaps names
// meanwhile.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <thread>

#include "executor/failure.h"
#include "storage/remove_tree.h"

using namespace node_compute;
namespace fs = std::filesystem;

namespace {

/// What another process does between two system calls of remove_tree: called with the name that unlinkat
/// refused as a directory, and with the name of a directory that is about to go.
std::function<void(std::string_view)> after_refused_unlink;
std::function<void(std::string_view)> before_directory_goes;

class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string name = (fs::temp_directory_path() / "node-compute-tree-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~ScratchDirectory() { fs::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

void touch(const std::string& path) { std::ofstream(path) << "x"; }

const Cancellation kNever;

int errno_of_removing(const std::string& path) {
  try {
    remove_tree(path, kNever);
  } catch (const SystemError& error) {
    return error.number;
  }
  return 0;
}

}  // namespace

/// Stands before the C library's own.
extern "C" int unlinkat(int directory, const char* name, int flags) noexcept {
  if (flags == AT_REMOVEDIR && before_directory_goes) before_directory_goes(name);
  const auto result = static_cast<int>(syscall(SYS_unlinkat, directory, name, flags));
  const int refusal = errno;
  if (result != 0 && refusal == EISDIR && after_refused_unlink) after_refused_unlink(name);
  errno = refusal;
  return result;
}

TEST_CASE("files, trees and links go; what links lead to stays; nothing is success") {
  const ScratchDirectory scratch;
  fs::create_directories(scratch / "outside/deep");
  touch(scratch / "outside/deep/file");
  fs::create_directories(scratch / "tree/a/b/c");
  for (int i = 0; i < 300; ++i) touch(scratch / ("tree/a/" + std::to_string(i)));
  fs::create_directory_symlink(scratch / "outside", scratch / "tree/a/b/link");
  fs::create_symlink(scratch / "outside/deep/file", scratch / "tree/file-link");
  REQUIRE(mkfifo((scratch / "tree/fifo").c_str(), 0600) == 0);
  remove_tree(scratch / "tree", kNever);
  CHECK_FALSE(fs::exists(scratch / "tree"));
  CHECK(fs::exists(scratch / "outside/deep/file"));

  fs::create_directory_symlink(scratch / "outside", scratch / "link");
  remove_tree(scratch / "link", kNever);
  CHECK_FALSE(fs::is_symlink(scratch / "link"));
  CHECK(fs::exists(scratch / "outside/deep/file"));

  touch(scratch / "single");
  remove_tree(scratch / "single", kNever);
  CHECK_FALSE(fs::exists(scratch / "single"));
  CHECK_NOTHROW(remove_tree(scratch / "single", kNever));
  CHECK_NOTHROW(remove_tree(scratch / "missing/below", kNever));
}

TEST_CASE("paths that end in no name are refused") {
  for (const char* const path : {"", "/", "relative", "relative/name", "/tmp/", "/tmp/.", "/tmp/.."}) {
    CHECK_THROWS_AS(remove_tree(path, kNever), InvalidArgument);
  }
}

TEST_CASE("a tree too deep ends in an error, not in exhaustion") {
  const ScratchDirectory scratch;
  std::string path = scratch / "tree";
  for (int i = 0; i < 80; ++i) path += "/d";
  fs::create_directories(path);
  CHECK(errno_of_removing(scratch / "tree") == ELOOP);
}

TEST_CASE("a cancelled removal stops") {
  const ScratchDirectory scratch;
  fs::create_directories(scratch / "tree/a");
  Cancellation cancelled;
  cancelled.cancel();
  CHECK_THROWS_AS(remove_tree(scratch / "tree", cancelled), Cancelled);
  CHECK(fs::exists(scratch / "tree/a"));
}

TEST_CASE("a file system mounted inside keeps its files") {
  const ScratchDirectory scratch;
  fs::create_directories(scratch / "tree/mounted");
  int outcome = -1;
  // In a thread: its mount namespace ends with it.
  std::thread([&] {
    if (unshare(CLONE_FS | CLONE_NEWNS) != 0 ||
        mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("tmpfs", (scratch / "tree/mounted").c_str(), "tmpfs", 0, "size=64k") != 0) {
      return;
    }
    touch(scratch / "tree/mounted/precious");
    const int error = errno_of_removing(scratch / "tree");
    outcome = fs::exists(scratch / "tree/mounted/precious") ? error : 0;
    umount2((scratch / "tree/mounted").c_str(), MNT_DETACH);
  }).join();
  if (outcome < 0) {
    MESSAGE("skipped: mounting needs root and CAP_SYS_ADMIN");
    return;
  }
  CHECK(outcome == EXDEV);
}

TEST_CASE("a directory that is swapped for a link just before it is opened leads nowhere") {
  const ScratchDirectory scratch;
  const std::string directory = scratch / "tree/directory";
  const std::string link = scratch / "link";
  fs::create_directories(directory);
  fs::create_directory(scratch / "outside");
  touch(scratch / "outside/precious");
  fs::create_directory_symlink(scratch / "outside", link);
  int swaps = 0;
  after_refused_unlink = [&](std::string_view name) {
    if (name != "directory" || ++swaps > 1) return;
    CHECK(syscall(SYS_renameat2, AT_FDCWD, directory.c_str(), AT_FDCWD, link.c_str(), RENAME_EXCHANGE) == 0);
  };
  const int error = errno_of_removing(scratch / "tree");
  after_refused_unlink = nullptr;
  CHECK(swaps == 1);
  CHECK(error == EISDIR);
  CHECK(fs::exists(scratch / "outside/precious"));
  // The next attempt meets the link as what it is.
  CHECK(errno_of_removing(scratch / "tree") == 0);
  CHECK_FALSE(fs::exists(scratch / "tree"));
  CHECK(fs::exists(scratch / "outside/precious"));
}

TEST_CASE("a directory that is filled while it is emptied is emptied again, but not for ever") {
  const ScratchDirectory scratch;
  fs::create_directories(scratch / "tree");
  int fillings = 0;
  int most = 3;
  before_directory_goes = [&](std::string_view) {
    if (fillings < most) touch(scratch / ("tree/late" + std::to_string(++fillings)));
  };
  CHECK(errno_of_removing(scratch / "tree") == 0);
  CHECK(fillings == 3);
  CHECK_FALSE(fs::exists(scratch / "tree"));
  fs::create_directories(scratch / "tree");
  most = 1000;
  CHECK(errno_of_removing(scratch / "tree") == ENOTEMPTY);
  before_directory_goes = nullptr;
}
