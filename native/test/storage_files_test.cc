// Small files: whole or not at all, exact modes, planted links and FIFOs not followed.
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "executor/failure.h"
#include "storage/files.h"
#include "storage/read_directory.h"

using namespace node_compute;
namespace fs = std::filesystem;

namespace {

class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string name = (fs::temp_directory_path() / "node-compute-files-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~ScratchDirectory() { fs::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class Umask {
 public:
  explicit Umask(mode_t mask) : before_(umask(mask)) {}
  ~Umask() { umask(before_); }

 private:
  mode_t before_;
};

/// Files of this process end at `bytes`: a full disk without one.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    getrlimit(RLIMIT_FSIZE, &before_);
    rlimit limit = before_;
    limit.rlim_cur = bytes;
    previous_ = std::signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, previous_);
  }

 private:
  rlimit before_{};
  void (*previous_)(int) = SIG_DFL;
};

template <class Call>
int errno_of(Call call) {
  try {
    call();
  } catch (const SystemError& error) {
    return error.number;
  }
  return 0;
}

unsigned mode_of(const std::string& path) { return stat_file(path).value().mode; }

}  // namespace

TEST_CASE("a directory gets its exact mode and missing parents, and is made once") {
  const ScratchDirectory scratch;
  for (const mode_t mask : {0000U, 0077U}) {
    const Umask umask(mask);
    const std::string path = scratch / ("a" + std::to_string(mask) + "/b/c");
    CHECK(make_directory(path, 0711));
    CHECK_FALSE(make_directory(path, 0700));
    CHECK(mode_of(path) == 0711);
    CHECK(mode_of(scratch / ("a" + std::to_string(mask))) == 0755);
  }
  CHECK(make_directory(scratch / "slash/", 0700));
  CHECK_FALSE(make_directory(scratch / "slash//", 0700));
}

TEST_CASE("no directory is made where a file or a planted link stands, nor below one") {
  const ScratchDirectory scratch;
  write_file(scratch / "file", "x", WriteHow::create, 0600, false);
  fs::create_directory(scratch / "elsewhere");
  fs::create_directory_symlink(scratch / "elsewhere", scratch / "link");
  CHECK(errno_of([&] { make_directory(scratch / "file", 0700); }) == ENOTDIR);
  CHECK(errno_of([&] { make_directory(scratch / "file/below", 0700); }) == ENOTDIR);
  CHECK(errno_of([&] { make_directory(scratch / "link", 0700); }) == ENOTDIR);
  fs::create_symlink(scratch / "nowhere", scratch / "dangling");
  CHECK(errno_of([&] { make_directory(scratch / "dangling/below", 0700); }) == ENOTDIR);
  CHECK_FALSE(stat_file(scratch / "nowhere"));
  CHECK(errno_of([] { make_directory("", 0700); }) == ENOENT);
}

TEST_CASE("a written file has its exact mode under any umask and no temporary beside it") {
  const ScratchDirectory scratch;
  for (const mode_t mask : {0000U, 0077U}) {
    const Umask umask(mask);
    for (const WriteHow how : {WriteHow::create, WriteHow::replace, WriteHow::append}) {
      const std::string path = scratch / ("f" + std::to_string(mask) + std::to_string(static_cast<int>(how)));
      write_file(path, "content", how, 0640, true);
      CHECK(read_file(path, 100) == "content");
      CHECK(mode_of(path) == 0640);
    }
  }
  CHECK(list_directory(scratch.path()).size() == 6);
}

TEST_CASE("create refuses what exists, replace swaps the inode, append adds") {
  const ScratchDirectory scratch;
  const std::string path = scratch / "file";
  write_file(path, "one", WriteHow::create, 0600, false);
  CHECK(errno_of([&] { write_file(path, "two", WriteHow::create, 0600, false); }) == EEXIST);
  CHECK(read_file(path, 100) == "one");
  const auto before = stat_file(path).value();
  write_file(path, "two", WriteHow::replace, 0600, true);
  CHECK(read_file(path, 100) == "two");
  CHECK(stat_file(path)->inode != before.inode);
  write_file(path, "+", WriteHow::append, 0600, true);
  CHECK(read_file(path, 100) == "two+");
}

TEST_CASE("a planted symbolic link is replaced or refused, never written or read through") {
  const ScratchDirectory scratch;
  const std::string victim = scratch / "victim";
  const std::string link = scratch / "link";
  write_file(victim, "precious", WriteHow::create, 0600, false);
  fs::create_symlink(victim, link);
  CHECK(errno_of([&] { write_file(link, "x", WriteHow::create, 0600, false); }) == EEXIST);
  CHECK(errno_of([&] { write_file(link, "x", WriteHow::append, 0600, false); }) == ELOOP);
  CHECK(errno_of([&] { read_file(link, 10); }) == ELOOP);
  write_file(link, "own", WriteHow::replace, 0600, false);
  CHECK(read_file(victim, 100) == "precious");
  CHECK(stat_file(link)->type == FileType::file);
}

TEST_CASE("a planted FIFO does not hang the caller") {
  const ScratchDirectory scratch;
  const std::string path = scratch / "fifo";
  REQUIRE(mkfifo(path.c_str(), 0600) == 0);
  CHECK(errno_of([&] { read_file(path, 10); }) == EINVAL);
  CHECK(errno_of([&] { write_file(path, "x", WriteHow::append, 0600, false); }) != 0);
  CHECK(stat_file(path)->type == FileType::other);
}

TEST_CASE("a write that meets a full disk leaves the old content and no file of its own") {
  const ScratchDirectory scratch;
  write_file(scratch / "kept", "old", WriteHow::create, 0600, false);
  write_file(scratch / "journal", "line 1\n", WriteHow::append, 0600, false);
  const std::string big(8192, 'x');
  {
    const FileSizeLimit limit(4096);
    CHECK(errno_of([&] { write_file(scratch / "new", big, WriteHow::create, 0600, true); }) == EFBIG);
    CHECK(errno_of([&] { write_file(scratch / "kept", big, WriteHow::replace, 0600, true); }) == EFBIG);
    CHECK(errno_of([&] { write_file(scratch / "journal", big, WriteHow::append, 0600, true); }) == EFBIG);
  }
  CHECK(list_directory(scratch.path()) == std::vector<std::string>{"journal", "kept"});
  CHECK(read_file(scratch / "kept", 100) == "old");
  CHECK(read_file(scratch / "journal", 100) == "line 1\n");
}

TEST_CASE("the tail of a file is read, and all of one whose size is told as 0") {
  const ScratchDirectory scratch;
  std::string content(200'000, '.');
  content += "the end";
  write_file(scratch / "log", content, WriteHow::create, 0600, false);
  CHECK(read_file(scratch / "log", 7) == "the end");
  CHECK(read_file(scratch / "log", 0).empty());
  CHECK(read_file(scratch / "log", 1 << 20) == content);
  CHECK(read_file("/proc/meminfo", 1 << 16).find("MemTotal:") == 0);
  CHECK(read_file("/proc/meminfo", 10).size() == 10);
}

TEST_CASE("a directory is listed in order; a missing one and a file are errors") {
  const ScratchDirectory scratch;
  for (const char* const name : {"b", "a", "..c", ".d"}) {
    write_file(scratch / name, "", WriteHow::create, 0600, false);
  }
  CHECK(list_directory(scratch.path()) == std::vector<std::string>{"..c", ".d", "a", "b"});
  CHECK(errno_of([&] { list_directory(scratch / "none"); }) == ENOENT);
  CHECK(errno_of([&] { list_directory(scratch / "a"); }) == ENOTDIR);
}

TEST_CASE("a directory is read with the status of each entry, and what small files hold") {
  const ScratchDirectory scratch;
  write_file(scratch / "b", "small", WriteHow::create, 0600, false);
  write_file(scratch / "a", "larger than that", WriteHow::create, 0600, false);
  make_directory(scratch / "c", 0700);
  REQUIRE(symlink((scratch / "b").c_str(), (scratch / "d").c_str()) == 0);
  REQUIRE(mkfifo((scratch / "e").c_str(), 0600) == 0);
  REQUIRE(link((scratch / "b").c_str(), (scratch / "f").c_str()) == 0);
  const Cancellation never;
  const auto entries = read_directory(scratch.path(), 5, never);
  REQUIRE(entries.size() == 6);
  const auto is = [&](std::size_t i, const std::string& name, FileType type, const std::string& content) {
    CHECK(entries[i].name == name);
    CHECK(entries[i].status.type == type);
    CHECK(entries[i].content == content);
  };
  is(0, "a", FileType::file, "");
  is(1, "b", FileType::file, "small");
  is(2, "c", FileType::directory, "");
  is(3, "d", FileType::other, "");
  is(4, "e", FileType::other, "");
  is(5, "f", FileType::file, "small");
  CHECK(entries[1].status.links == 2);
  CHECK(entries[0].status.size_bytes == 16);
  CHECK(read_directory(scratch.path(), 0, never)[1].content.empty());
  CHECK_THROWS_AS(read_directory(scratch / "none", 0, never), SystemError);
  CHECK_THROWS_AS(read_directory(scratch / "a", 0, never), SystemError);
  Cancellation cancelled;
  cancelled.cancel();
  CHECK_THROWS_AS(read_directory(scratch.path(), 0, cancelled), Cancelled);
}

TEST_CASE("publishing renames, and a failure names the target") {
  const ScratchDirectory scratch;
  write_file(scratch / "new", "x", WriteHow::create, 0600, false);
  publish_file(scratch / "new", scratch / "base", true);
  CHECK(list_directory(scratch.path()) == std::vector<std::string>{"base"});
  try {
    publish_file(scratch / "new", scratch / "other", true);
    FAIL("published a file that is not there");
  } catch (const SystemError& error) {
    CHECK(error.number == ENOENT);
    CHECK(error.path == scratch / "other");
  }
}

TEST_CASE("status tells of the name itself, and nothing of what is not there") {
  const ScratchDirectory scratch;
  write_file(scratch / "file", std::string(5000, 'x'), WriteHow::create, 0604, false);
  fs::create_hard_link(scratch / "file", scratch / "second");
  const auto file = stat_file(scratch / "file").value();
  CHECK(file.type == FileType::file);
  CHECK(file.size_bytes == 5000);
  CHECK(file.mode == 0604);
  CHECK(file.links == 2);
  CHECK(file.uid == geteuid());
  CHECK(file.mtime_ms > 1.6e12);
  fs::create_symlink(scratch / "file", scratch / "link");
  CHECK(stat_file(scratch / "link")->type == FileType::other);
  CHECK(stat_file(scratch.path())->type == FileType::directory);
  CHECK_FALSE(stat_file(scratch / "none"));
  CHECK_FALSE(stat_file(scratch / "file/below"));
}

TEST_CASE("free space is not above the total, and the owner of a link is its own") {
  const ScratchDirectory scratch;
  const auto status = stat_file_system(scratch.path());
  CHECK(status.total_bytes > 0);
  CHECK(status.available_bytes <= status.free_bytes);
  CHECK(status.free_bytes <= status.total_bytes);
  write_file(scratch / "victim", "", WriteHow::create, 0600, false);
  fs::create_symlink(scratch / "victim", scratch / "link");
  if (geteuid() != 0) {
    MESSAGE("skipped: changing owners needs root");
    return;
  }
  set_owner(scratch / "link", 4242, 4243);
  CHECK(stat_file(scratch / "link")->uid == 4242);
  CHECK(stat_file(scratch / "victim")->uid == geteuid());
}
