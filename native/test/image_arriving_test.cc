// A conversion while the image arrives gives what a conversion of the whole gives: the same disk or the same
// refusal.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <random>
#include <string>

#include "executor/failure.h"
#include "image/arriving_conversion.h"
#include "image/convert.h"
#include "image_fixture.h"

using namespace node_compute;
using namespace node_compute::test;

namespace {

constexpr std::uint64_t kMib = 1 << 20;

/// A file of full length that is filled from its start.
class Arrival {
 public:
  Arrival(const std::string& path, const Bytes& bytes) : bytes_(bytes), file_(create_target(path)) {
    truncate_to(file_.get(), bytes.size(), path);
  }
  void up_to(std::uint64_t end) {
    write_at(file_.get(), bytes_.data() + there_, end - there_, there_, "arrival");
    there_ = end;
  }

 private:
  const Bytes& bytes_;
  FileDescriptor file_;
  std::uint64_t there_ = 0;
};

struct Outcome {
  std::string rule;
  Bytes disk;
  bool operator==(const Outcome& other) const { return rule == other.rule && disk == other.disk; }
};

Outcome whole(const Bytes& image) {
  const ScratchDirectory scratch;
  write_bytes(scratch / "image", image);
  ConvertOptions options;
  options.format = "raw";
  options.max_virtual_bytes = kAnySize;
  options.sync = false;
  Outcome outcome;
  Cancellation never;
  outcome.rule = image_rule([&] {
    convert_image({{scratch / "image", "qcow2"}}, scratch / "raw", options, never);
  });
  if (outcome.rule.empty()) outcome.disk = read_bytes(scratch / "raw");
  return outcome;
}

struct Arrived {
  Outcome outcome;
  std::uint64_t virtual_bytes = 0;
  /// Of the target, before finish().
  std::uint64_t early_bytes = 0;
};

Arrived arriving(const Bytes& image, std::uint64_t step, std::uint64_t max_early_bytes = kAnySize) {
  const ScratchDirectory scratch;
  Arrival arrival(scratch / "image", image);
  Cancellation never;
  ArrivingConversion conversion(scratch / "image", scratch / "raw",
                                {image.size(), kAnySize, max_early_bytes, 2});
  for (std::uint64_t end = 0; end < image.size();) {
    end = std::min<std::uint64_t>(image.size(), end + step);
    arrival.up_to(end);
    conversion.advance(end, never);
  }
  Arrived result;
  result.virtual_bytes = conversion.virtual_bytes();
  struct stat status {};
  REQUIRE(::stat((scratch / "raw").c_str(), &status) == 0);
  result.early_bytes = static_cast<std::uint64_t>(status.st_blocks) * 512;
  result.outcome.rule = image_rule([&] { conversion.finish(never); });
  if (result.outcome.rule.empty()) {
    result.outcome.disk = read_bytes(scratch / "raw");
    conversion.abandon();
    CHECK(scratch.entries() == 2);
  } else {
    CHECK(scratch.entries() == 1);
  }
  return result;
}

/// 9 MiB of text, random bytes, zeros and holes, with an end that is no multiple of any cluster.
Bytes guest_disk(std::mt19937_64& random) {
  Bytes disk(9 * kMib + 512);
  for (std::size_t at = 0; at < disk.size(); at += 4096) {
    const std::size_t bytes = std::min<std::size_t>(4096, disk.size() - at);
    const auto kind = random() % 4;
    if (kind == 0) continue;
    for (std::size_t i = 0; i < bytes; ++i) {
      disk[at + i] = static_cast<std::uint8_t>(kind == 1 ? random() : (at + i / (kind + 1)) % 251);
    }
  }
  return disk;
}

std::uint64_t data_bytes(const Bytes& disk) {
  std::uint64_t bytes = 0;
  for (std::size_t at = 0; at < disk.size(); at += 4096) {
    const std::size_t length = std::min<std::size_t>(4096, disk.size() - at);
    if (!is_zero(disk.data() + at, length)) bytes += length;
  }
  return bytes;
}

Bytes image_of(const Bytes& disk, std::optional<Compression> compression, std::uint64_t cluster) {
  const ScratchDirectory scratch;
  write_bytes(scratch / "raw", disk);
  ConvertOptions options;
  options.format = "qcow2";
  options.compression = compression;
  options.cluster_size = cluster;
  options.max_virtual_bytes = kAnySize;
  options.sync = false;
  Cancellation never;
  convert_image({{scratch / "raw", "raw"}}, scratch / "image", options, never);
  return read_bytes(scratch / "image");
}

}  // namespace

TEST_CASE("an image is placed while it arrives, in pieces of any size") {
  std::mt19937_64 random(7);
  const Bytes disk = guest_disk(random);
  for (const auto compression : {std::optional<Compression>{}, std::optional{Compression::deflate},
                                 std::optional{Compression::zstd}}) {
    for (const std::uint64_t cluster : {std::uint64_t{4096}, std::uint64_t{65536}, 2 * kMib}) {
      CAPTURE(cluster);
      const Bytes image = image_of(disk, compression, cluster);
      REQUIRE(image.size() > 2 * kMib);
      for (const std::uint64_t step : {100'003, 1'048'576, 1 << 30}) {
        const Arrived arrived = arriving(image, step);
        CHECK(arrived.virtual_bytes == disk.size());
        CHECK(arrived.outcome.rule.empty());
        CHECK(arrived.outcome.disk == disk);
        // With the last piece all of it was placed: nothing was left to the end.
        CHECK(arrived.early_bytes >= data_bytes(disk));
      }
    }
  }
}

TEST_CASE("no more is placed early than was allowed") {
  std::mt19937_64 random(8);
  const Bytes disk = guest_disk(random);
  const Bytes image = image_of(disk, Compression::deflate, 65536);
  const Arrived arrived = arriving(image, 512 << 10, kMib);
  CHECK(arrived.early_bytes <= kMib);
  CHECK(arrived.outcome.disk == disk);
  CHECK(arriving(image, 512 << 10, 0).early_bytes == 0);
}

TEST_CASE("a damaged image is refused as it is when it is converted whole") {
  std::random_device device;
  const std::uint64_t seed = device();
  std::printf("arriving seed %llu\n", static_cast<unsigned long long>(seed));
  std::mt19937_64 random(seed);
  CAPTURE(seed);
  int accepted = 0;
  int refused = 0;
  for (int round = 0; round < 600; ++round) {
    CAPTURE(round);
    Qcow2Image image(random() % 2 == 0 ? 2 : 3, 9 + static_cast<unsigned>(random() % 5));
    for (std::uint64_t n = random() % 3; n > 0; --n) {
      const std::uint64_t bit = random() % (image.data * 8);
      image.bytes[bit / 8] = static_cast<std::uint8_t>(image.bytes[bit / 8] ^ 1U << bit % 8);
    }
    // A disk of many bytes is right, and slow to compare.
    if (image.get64(24) > 64 * kMib) continue;
    const Outcome expected = whole(image.bytes);
    const Outcome got = arriving(image.bytes, 1 + random() % image.bytes.size()).outcome;
    CHECK(got.rule == expected.rule);
    CHECK(got.disk == expected.disk);
    ++(expected.rule.empty() ? accepted : refused);
  }
  CHECK(accepted > 50);
  CHECK(refused > 50);
}

TEST_CASE("what does not become a disk leaves nothing") {
  std::mt19937_64 random(9);
  const Bytes image = image_of(guest_disk(random), Compression::zstd, 65536);
  const ScratchDirectory scratch;
  write_bytes(scratch / "image", image);
  const ArrivingOptions options{image.size(), kAnySize, kAnySize, 2};
  Cancellation cancel;

  SUBCASE("abandoned") {
    ArrivingConversion conversion(scratch / "image", scratch / "raw", options);
    conversion.advance(image.size(), cancel);
    conversion.abandon();
    conversion.abandon();
    CHECK_THROWS_AS(conversion.advance(image.size(), cancel), Closed);
    CHECK_THROWS_AS(conversion.finish(cancel), Closed);
  }
  SUBCASE("destroyed") {
    ArrivingConversion(scratch / "image", scratch / "raw", options).advance(3 * kMib, cancel);
  }
  SUBCASE("cancelled") {
    ArrivingConversion conversion(scratch / "image", scratch / "raw", options);
    cancel.cancel();
    CHECK_THROWS_AS(conversion.advance(image.size(), cancel), Cancelled);
    CHECK_THROWS_AS(conversion.finish(cancel), Cancelled);
  }
  SUBCASE("a target that exists is not touched") {
    write_bytes(scratch / "raw", {1, 2, 3});
    CHECK_THROWS_AS(ArrivingConversion(scratch / "image", scratch / "raw", options), SystemError);
    CHECK(read_bytes(scratch / "raw") == Bytes{1, 2, 3});
    return;
  }
  CHECK(scratch.entries() == 1);
}
