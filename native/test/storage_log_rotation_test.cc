#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "executor/failure.h"
#include "storage/log_rotation.h"

using namespace node_compute;
namespace fs = std::filesystem;

namespace {

struct Scratch {
  fs::path directory;
  Scratch() {
    std::string name = (fs::temp_directory_path() / "nct-log-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    directory = name;
  }
  ~Scratch() { fs::remove_all(directory); }
  std::string path(const std::string& name = "console.log") const { return (directory / name).string(); }
};

std::string content(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

void append(const std::string& path, const std::string& text) { std::ofstream(path, std::ios::app) << text; }

std::string numbered(int from, int to) {
  std::string text;
  for (int i = from; i < to; ++i) text += "line " + std::to_string(i) + "\n";
  return text;
}

}  // namespace

TEST_CASE("log rotation: a log within its bound, and none at all, are left alone") {
  const Scratch scratch;
  CHECK_FALSE(rotate_log(scratch.path(), 100));
  append(scratch.path(), std::string(100, 'x'));
  CHECK_FALSE(rotate_log(scratch.path(), 100));
  CHECK(content(scratch.path()) == std::string(100, 'x'));
  CHECK_FALSE(fs::exists(scratch.path("console.log.0")));
}

TEST_CASE("log rotation: the two files together are the end of what was written") {
  const Scratch scratch;
  const std::string text = numbered(0, 20'000);
  append(scratch.path(), text);
  CHECK(rotate_log(scratch.path(), 100'000));
  const std::string kept = content(scratch.path("console.log.0")) + content(scratch.path());
  CHECK(kept.size() >= 100'000);
  CHECK(kept.size() <= 100'000 + 8192);
  CHECK(text.substr(text.size() - kept.size()) == kept);
  struct stat status {};
  REQUIRE(stat(scratch.path("console.log.0").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
  CHECK_FALSE(rotate_log(scratch.path(), 100'000));
}

TEST_CASE("log rotation: a bound below one block still bounds") {
  const Scratch scratch;
  append(scratch.path(), std::string(50, 'a') + std::string(10, 'b'));
  CHECK(rotate_log(scratch.path(), 50));
  CHECK(fs::file_size(scratch.path()) == 0);
  CHECK(content(scratch.path("console.log.0")) == std::string(50, 'a') + std::string(10, 'b'));
}

TEST_CASE("log rotation: a writer that appends meanwhile goes on in the same file") {
  const Scratch scratch;
  append(scratch.path(), "");
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    const int fd = open(scratch.path().c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
    for (int i = 0; !stop; ++i) {
      const std::string line = "line " + std::to_string(i) + "\n";
      if (write(fd, line.data(), line.size()) < 0) break;
    }
    close(fd);
  });
  int rotations = 0;
  for (int i = 0; i < 1'000'000 && rotations < 5; ++i) {
    rotations += rotate_log(scratch.path(), 20'000) ? 1 : 0;
  }
  stop = true;
  writer.join();
  CHECK(rotations == 5);
  append(scratch.path(), "end\n");
  const std::string text = content(scratch.path());
  CHECK(text.substr(text.size() - 4) == "end\n");
  CHECK(text.find('\0') == std::string::npos);
}

TEST_CASE("log rotation: neither a link nor a directory is rotated") {
  const Scratch scratch;
  append(scratch.path("other"), std::string(1000, 'x'));
  REQUIRE(symlink(scratch.path("other").c_str(), scratch.path().c_str()) == 0);
  CHECK_THROWS_AS(rotate_log(scratch.path(), 10), SystemError);
  CHECK(fs::file_size(scratch.path("other")) == 1000);
  fs::create_directory(scratch.path("directory"));
  CHECK_THROWS_AS(rotate_log(scratch.path("directory"), 10), SystemError);
}
