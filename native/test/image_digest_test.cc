// Digests of files in pieces: the same however the file is cut, stored or read; zeros of a sparse one cost
// nothing.
#include <fcntl.h>
#include <unistd.h>

#include <string>

#include "executor/failure.h"
#include "image/file_digest.h"
#include "image_fixture.h"

using namespace node_compute;
using namespace node_compute::test;

namespace {

const Cancellation kNever;
constexpr std::size_t kMib = 1 << 20;

std::string whole(const std::string& path, const FileDigestOptions& options, std::uint64_t piece = 4 * kMib) {
  FileDigest digest(path, options);
  for (;;) {
    const FileDigest::Piece done = digest.advance(piece, kNever);
    if (done.value) return *done.value;
  }
}

std::string of_memory(const std::string& algorithm, const Bytes& bytes) {
  Digest digest(algorithm);
  digest.update(bytes.data(), bytes.size());
  return digest.finish();
}

/// What `sparse-sha256` is defined to be, from the definition.
std::string sparse_of_memory(const Bytes& bytes) {
  constexpr std::size_t kBlock = 65536;
  Digest digest("sha256");
  const auto number = [&](std::uint64_t value) {
    for (int i = 0; i < 8; ++i) {
      const auto byte = static_cast<std::uint8_t>(value >> (8 * i));
      digest.update(&byte, 1);
    }
  };
  number(bytes.size());
  for (std::size_t at = 0; at < bytes.size(); at += kBlock) {
    const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    const auto end = begin + static_cast<std::ptrdiff_t>(std::min(kBlock, bytes.size() - at));
    if (std::all_of(begin, end, [](std::uint8_t byte) { return byte == 0; })) continue;
    number(at);
    digest.update(&*begin, static_cast<std::size_t>(end - begin));
  }
  return digest.finish();
}

/// Data at both ends of 5 MiB and 777 bytes, in the middle of a block, and none in between.
Bytes content() {
  Bytes bytes(5 * kMib + 777, 0);
  for (std::size_t i = 100; i < 70'000; ++i) bytes[i] = static_cast<std::uint8_t>(i * 7 + 1);
  for (std::size_t i = 3 * kMib + 5; i < 3 * kMib + 500; ++i) bytes[i] = 0x5a;
  bytes.back() = 1;
  return bytes;
}

void write_with_holes(const std::string& path, const Bytes& bytes) {
  write_bytes(path, {});
  const int file = ::open(path.c_str(), O_WRONLY);
  REQUIRE(file >= 0);
  REQUIRE(::ftruncate(file, static_cast<off_t>(bytes.size())) == 0);
  for (std::size_t at = 0; at < bytes.size(); at += 4096) {
    const std::size_t length = std::min<std::size_t>(4096, bytes.size() - at);
    const Bytes block(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                      bytes.begin() + static_cast<std::ptrdiff_t>(at + length));
    if (std::all_of(block.begin(), block.end(), [](std::uint8_t byte) { return byte == 0; })) continue;
    REQUIRE(::pwrite(file, block.data(), length, static_cast<off_t>(at)) == static_cast<ssize_t>(length));
  }
  ::close(file);
}

}  // namespace

TEST_CASE("the digest of a file is the same in pieces, past the page cache, and with holes or zeros") {
  const ScratchDirectory scratch;
  const Bytes bytes = content();
  write_bytes(scratch / "full", bytes);
  write_with_holes(scratch / "holes", bytes);
  for (const char* name : {"full", "holes"}) {
    for (const bool direct : {false, true}) {
      for (const std::uint64_t piece : {std::uint64_t{1}, std::uint64_t{100'000}, std::uint64_t{64 * kMib}}) {
        for (const char* algorithm : {"md5", "sha256", "sha512"}) {
          CHECK(whole(scratch / name, {algorithm, direct}, piece) == of_memory(algorithm, bytes));
        }
        CHECK(whole(scratch / name, {"sparse-sha256", direct}, piece) == sparse_of_memory(bytes));
      }
    }
  }
}

TEST_CASE("one flipped bit, another length and moved data change the digest of a file") {
  const ScratchDirectory scratch;
  const Bytes bytes = content();
  write_bytes(scratch / "file", bytes);
  const std::string before = whole(scratch / "file", {"sparse-sha256", false});
  const auto changed = [&](const Bytes& other) {
    write_bytes(scratch / "other", other);
    return whole(scratch / "other", {"sparse-sha256", true}) != before;
  };
  Bytes flipped = bytes;
  flipped[4 * kMib] ^= 1;
  CHECK(changed(flipped));
  Bytes longer = bytes;
  longer.push_back(0);
  CHECK(changed(longer));
  Bytes moved(bytes.size(), 0);
  std::copy(bytes.begin(), bytes.end() - 65536, moved.begin() + 65536);
  CHECK(changed(moved));
}

TEST_CASE("zeros of a sparse digest cost no work, others a sixteenth, and pieces are bounded") {
  const ScratchDirectory scratch;
  write_bytes(scratch / "file", {1});
  REQUIRE(::truncate((scratch / "file").c_str(), 1L << 32) == 0);
  FileDigest sparse(scratch / "file", {"sparse-sha256", false});
  const FileDigest::Piece all = sparse.advance(kMib, kNever);
  CHECK(all.value.has_value());
  CHECK(all.work_bytes <= kMib);
  FileDigest linear(scratch / "file", {"sha256", false});
  const FileDigest::Piece some = linear.advance(kMib, kNever);
  CHECK(!some.value);
  CHECK(some.done_bytes <= 64 * kMib);
  CHECK(linear.advance(kMib, kNever).done_bytes > some.done_bytes);
}

TEST_CASE("the digest of a file ends where it is cancelled, cut short, or no file") {
  const ScratchDirectory scratch;
  write_bytes(scratch / "file", content());
  Cancellation cancelled;
  cancelled.cancel();
  FileDigest digest(scratch / "file", {"sha256", false});
  CHECK_THROWS_AS(digest.advance(1, cancelled), Cancelled);
  digest.advance(1, kNever);
  REQUIRE(::truncate((scratch / "file").c_str(), 3 * kMib + 100) == 0);
  CHECK_THROWS_AS(FileDigest(scratch / "none", {"sha256", false}), SystemError);
  CHECK_THROWS_AS(FileDigest(scratch / "file", {"sha1", false}), InvalidArgument);
  CHECK_THROWS_AS(FileDigest(scratch / "file", {"", false}), InvalidArgument);
  CHECK(image_rule([&] { FileDigest(scratch / "", {"md5", false}); }) == "not-regular-file");
  CHECK(image_rule([&] {
          while (!digest.advance(kMib, kNever).value) {
          }
        }) == "truncated");
}
