// Copies, download targets, digests and publication: exact bytes, holes kept, caps held, nothing left on
// failure.
#include <sys/stat.h>

#include <random>
#include <string>

#include "executor/failure.h"
#include "image/copy.h"
#include "image/digest.h"
#include "image/file_digest.h"
#include "image/file_sink.h"
#include "image/publish.h"
#include "image_fixture.h"

using namespace node_compute;
using namespace node_compute::test;

namespace {

const Cancellation kNever;

// Published test vectors (RFC 1321, FIPS 180-4).
const std::string kAbcMd5 = "900150983cd24fb0d6963f7d28e17f72";
const std::string kAbcSha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const std::string kAbcSha512 =
    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";

Bytes noise(std::size_t bytes) {
  std::mt19937_64 random(bytes);
  Bytes result(bytes);
  for (auto& byte : result) byte = static_cast<std::uint8_t>(random() | 1);
  return result;
}

/// Data, a hole of 3 MiB, data, a hole of 1 MiB at the end.
Bytes holey() {
  Bytes bytes(6 << 20, 0);
  const Bytes data = noise(1 << 20);
  std::copy(data.begin(), data.end(), bytes.begin());
  std::copy(data.begin(), data.end(), bytes.begin() + (4 << 20));
  return bytes;
}

void write_sparse_file(const std::string& path, const Bytes& bytes) {
  FileSink sink(path, SinkOptions{{"", bytes.size(), false}});
  sink.write(bytes.data(), bytes.size());
  sink.finish();
}

std::uint64_t allocated(const std::string& path) {
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

}  // namespace

TEST_CASE("digests are those of the published test vectors") {
  const ScratchDirectory scratch;
  write_bytes(scratch / "abc", {'a', 'b', 'c'});
  CHECK(digest_file(scratch / "abc", "md5", kNever) == kAbcMd5);
  CHECK(digest_file(scratch / "abc", "sha256", kNever) == kAbcSha256);
  CHECK(digest_file(scratch / "abc", "sha512", kNever) == kAbcSha512);
  CHECK_THROWS_AS(digest_file(scratch / "abc", "sha1", kNever), InvalidArgument);
  CHECK_THROWS_AS(digest_file(scratch / "none", "md5", kNever), SystemError);
}

TEST_CASE("a file is hashed whole, whatever its length is to a chunk") {
  const ScratchDirectory scratch;
  for (const std::size_t length : {0U, 1U, (1U << 20) - 1, 1U << 20, (1U << 20) + 1, 3U << 20}) {
    CAPTURE(length);
    const Bytes bytes = noise(length);
    write_bytes(scratch / "file", bytes);
    Digest direct("sha256");
    direct.update(bytes.data(), bytes.size());
    CHECK(digest_file(scratch / "file", "sha256", kNever) == direct.finish());
  }
}

TEST_CASE("a copy has the bytes, the holes and the mode 0600, with and without a digest") {
  const ScratchDirectory scratch;
  const Bytes bytes = holey();
  write_sparse_file(scratch / "source", bytes);
  REQUIRE(allocated(scratch / "source") < 3 << 20);
  Digest expected("sha256");
  expected.update(bytes.data(), bytes.size());
  const std::string sha256 = expected.finish();
  for (const char* algorithm : {"", "sha256"}) {
    const std::string target = scratch / (std::string("copy") + algorithm);
    const CopyResult result = copy_file(scratch / "source", target, {algorithm, bytes.size()}, kNever);
    CHECK(result.bytes == bytes.size());
    CHECK(result.digest == (*algorithm == '\0' ? "" : sha256));
    CHECK((read_bytes(target) == bytes));
    CHECK(allocated(target) < 3 << 20);
    struct stat status {};
    REQUIRE(::stat(target.c_str(), &status) == 0);
    CHECK((status.st_mode & 07777) == 0600);
  }
}

TEST_CASE("a copy of a file that is all hole, or empty") {
  const ScratchDirectory scratch;
  for (const std::size_t length : {0U, 5U << 20}) {
    for (const char* algorithm : {"", "md5"}) {
      write_sparse_file(scratch / "source", Bytes(length, 0));
      const CopyResult result = copy_file(scratch / "source", scratch / "copy", {algorithm, length}, kNever);
      CHECK(result.bytes == length);
      CHECK((read_bytes(scratch / "copy") == Bytes(length, 0)));
      if (*algorithm != '\0') CHECK(result.digest == digest_file(scratch / "source", algorithm, kNever));
      REQUIRE(::unlink((scratch / "copy").c_str()) == 0);
      REQUIRE(::unlink((scratch / "source").c_str()) == 0);
    }
  }
}

TEST_CASE("a copy follows a link to its source, and none in place of its target") {
  const ScratchDirectory scratch;
  write_bytes(scratch / "source", {1, 2, 3});
  REQUIRE(::symlink("source", (scratch / "link").c_str()) == 0);
  copy_file(scratch / "link", scratch / "copy", {"", 100}, kNever);
  CHECK((read_bytes(scratch / "copy") == Bytes{1, 2, 3}));
  REQUIRE(::symlink("planted", (scratch / "target").c_str()) == 0);
  CHECK_THROWS_AS(copy_file(scratch / "source", scratch / "target", {"", 100}, kNever), SystemError);
  CHECK_FALSE(std::filesystem::exists(scratch / "planted"));
  CHECK_THROWS_AS(copy_file(scratch / "source", scratch / "copy", {"", 100}, kNever), SystemError);
  CHECK((read_bytes(scratch / "copy") == Bytes{1, 2, 3}));
}

TEST_CASE("FIFOs, devices and directories are no sources, and nobody waits for them") {
  const ScratchDirectory scratch;
  REQUIRE(::mkfifo((scratch / "fifo").c_str(), 0600) == 0);
  for (const std::string& path : {scratch / "fifo", std::string("/dev/zero"), scratch / ""}) {
    CHECK(image_rule([&] { copy_file(path, scratch / "copy", {"", 100}, kNever); }) == "not-regular-file");
    CHECK(image_rule([&] { digest_file(path, "md5", kNever); }) == "not-regular-file");
    CHECK(image_rule([&] { inspect_image(path, "raw", kAnySize, kNever); }) == "not-regular-file");
  }
  CHECK(scratch.entries() == 1);
}

TEST_CASE("a copy that fails or is cancelled leaves nothing") {
  const ScratchDirectory scratch;
  write_bytes(scratch / "source", noise(2 << 20));
  CHECK(image_rule([&] {
          copy_file(scratch / "source", scratch / "copy", {"", (2 << 20) - 1}, kNever);
        }) == "too-large");
  CHECK_THROWS_AS(copy_file(scratch / "source", scratch / "copy", {"crc32", 4 << 20}, kNever),
                  InvalidArgument);
  Cancellation cancelled;
  cancelled.cancel();
  for (const char* algorithm : {"", "md5"}) {
    CHECK_THROWS_AS(copy_file(scratch / "source", scratch / "copy", {algorithm, 4 << 20}, cancelled),
                    Cancelled);
    const FileSizeLimit limit(1 << 20);
    CHECK_THROWS_AS(copy_file(scratch / "source", scratch / "copy", {algorithm, 4 << 20}, kNever),
                    SystemError);
  }
  CHECK_THROWS_AS(digest_file(scratch / "source", "md5", cancelled), Cancelled);
  CHECK(scratch.entries() == 1);
}

TEST_CASE("a sink joins chunks of any length, hashes them and leaves holes for zeros") {
  const ScratchDirectory scratch;
  const Bytes bytes = holey();
  std::mt19937_64 random(7);
  FileSink sink(scratch / "sink", SinkOptions{{"sha512", bytes.size()}});
  for (std::size_t done = 0; done < bytes.size();) {
    const std::size_t length = std::min<std::size_t>(random() % 300000, bytes.size() - done);
    sink.write(bytes.data() + done, length);
    done += length;
  }
  const CopyResult result = sink.finish();
  CHECK(result.bytes == bytes.size());
  CHECK(result.digest == digest_file(scratch / "sink", "sha512", kNever));
  CHECK((read_bytes(scratch / "sink") == bytes));
  // Blocks that a chunk boundary cuts are written in part, never more.
  CHECK(allocated(scratch / "sink") < 3 << 20);
}

TEST_CASE("a sink takes its cap and not a byte more, then is closed") {
  const ScratchDirectory scratch;
  FileSink sink(scratch / "sink", SinkOptions{{"", 10}});
  const Bytes bytes = noise(10);
  sink.write(bytes.data(), 10);
  CHECK(image_rule([&] { sink.write(bytes.data(), 1); }) == "too-large");
  CHECK_THROWS_AS(sink.write(bytes.data(), 0), Closed);
  CHECK_THROWS_AS(sink.finish(), Closed);
  CHECK((read_bytes(scratch / "sink") == bytes));
}

TEST_CASE("a sink whose file system fails is closed") {
  const ScratchDirectory scratch;
  FileSink sink(scratch / "sink", SinkOptions{{"", 1 << 20}});
  const Bytes bytes = noise(1 << 16);
  {
    const FileSizeLimit limit(1 << 15);
    CHECK_THROWS_AS(sink.write(bytes.data(), bytes.size()), SystemError);
  }
  CHECK_THROWS_AS(sink.finish(), Closed);
}

TEST_CASE("a sink can be abandoned any number of times, and not be used after") {
  const ScratchDirectory scratch;
  FileSink sink(scratch / "sink", SinkOptions{{"md5", 10}});
  sink.abandon();
  sink.abandon();
  CHECK_THROWS_AS(sink.finish(), Closed);
  CHECK_THROWS_AS(FileSink(scratch / "sink", SinkOptions{{"", 10}}), SystemError);
  CHECK_THROWS_AS(FileSink(scratch / "other", SinkOptions{{"md4", 10}}), InvalidArgument);
  CHECK(scratch.entries() == 1);
}

TEST_CASE("sealing proves the length and sets the mode; links are not followed") {
  const ScratchDirectory scratch;
  write_bytes(scratch / "file", noise(100));
  CHECK(image_rule([&] { seal_file(scratch / "file", 101, 0644); }) == "truncated");
  CHECK(image_rule([&] { seal_file(scratch / "file", 99, 0644); }) == "truncated");
  seal_file(scratch / "file", 100, 0644);
  struct stat status {};
  REQUIRE(::stat((scratch / "file").c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0644);
  REQUIRE(::symlink("file", (scratch / "link").c_str()) == 0);
  CHECK_THROWS_AS(seal_file(scratch / "link", 100, 0600), SystemError);
  CHECK_THROWS_AS(seal_file(scratch / "none", 0, 0600), SystemError);
}

TEST_CASE("a link is made once, and never over another file") {
  const ScratchDirectory scratch;
  write_bytes(scratch / "base", {1});
  CHECK(link_file(scratch / "base", scratch / "hold"));
  CHECK_FALSE(link_file(scratch / "base", scratch / "hold"));
  write_bytes(scratch / "other", {2});
  CHECK_THROWS_AS(link_file(scratch / "base", scratch / "other"), SystemError);
  CHECK((read_bytes(scratch / "other") == Bytes{2}));
  CHECK_THROWS_AS(link_file(scratch / "none", scratch / "new"), SystemError);
  struct stat status {};
  REQUIRE(::stat((scratch / "base").c_str(), &status) == 0);
  CHECK(status.st_nlink == 2);
}

TEST_CASE("a copy that is to be larger ends with a hole, one that is to be smaller stays whole") {
  const ScratchDirectory scratch;
  const Bytes bytes = holey();
  write_sparse_file(scratch / "source", bytes);
  CopyOptions options{"", bytes.size(), false};
  options.grown_bytes = bytes.size() + (32 << 20);
  CHECK(copy_file(scratch / "source", scratch / "larger", options, kNever).bytes == bytes.size());
  Bytes grown = read_bytes(scratch / "larger");
  REQUIRE(grown.size() == options.grown_bytes);
  CHECK(std::equal(bytes.begin(), bytes.end(), grown.begin()));
  CHECK(allocated(scratch / "larger") <= allocated(scratch / "source"));
  options.grown_bytes = 512;
  copy_file(scratch / "source", scratch / "same", options, kNever);
  CHECK(read_bytes(scratch / "same") == bytes);
}
