// Disks as qcow2 images of our own, in a file and as a stream: good by our own validator, and the same disk
// again.
#include <algorithm>
#include <random>
#include <string>

#include "executor/failure.h"
#include "image/convert.h"
#include "image/convert_qcow2.h"
#include "image/disk_reader.h"
#include "image/qcow2_stream.h"
#include "image_fixture.h"

using namespace node_compute;
using namespace node_compute::qcow2;
using namespace node_compute::test;

namespace {

constexpr std::uint64_t kMib = 1 << 20;

/// Noise, text, and zeros between them; the last sector is not zero.
Bytes some_disk(std::uint64_t bytes, std::uint64_t noise) {
  Bytes disk(bytes, 0);
  std::mt19937_64 random(7);
  std::generate_n(disk.begin(), noise, [&] { return static_cast<std::uint8_t>(random()); });
  std::fill_n(disk.begin() + static_cast<std::ptrdiff_t>(bytes / 2), bytes / 8, std::uint8_t{'t'});
  disk.back() = 0x99;
  return disk;
}

Disk disk_of(const Bytes& bytes, std::optional<Qcow2Header> header = std::nullopt) {
  std::vector<Layer> layers;
  layers.push_back({in_memory(bytes), std::move(header)});
  return Disk(std::move(layers));
}

/// What an image holds, after the validator has found it good and without a backing file.
Bytes content(const Bytes& image) {
  const ImageVerdict verdict = inspect(image, "qcow2");
  const Disk disk = disk_of(image, verdict.qcow2);
  Bytes bytes(disk.size());
  DiskReader(disk).read(0, bytes.data(), bytes.size());
  return bytes;
}

Bytes to_qcow2(const Disk& disk, std::optional<Compression> compression, std::uint64_t cluster,
               unsigned threads = 2) {
  const ScratchDirectory scratch;
  NewFile file(scratch / "image");
  Cancellation never;
  const std::uint64_t length =
      convert_to_qcow2(disk, file.get(), "image", compression, cluster, threads, never);
  const Bytes image = read_bytes(scratch / "image");
  CHECK(image.size() == length);
  CHECK(never.done() == disk.size());
  return image;
}

Bytes streamed(const Disk& disk, std::uint64_t step) {
  const Cancellation never;
  Qcow2Stream stream(disk, never);
  Bytes image(stream.clusters() * Qcow2Stream::kCluster);
  for (std::uint64_t first = 0; first < stream.clusters(); first += step) {
    const std::uint64_t count = std::min(step, stream.clusters() - first);
    stream.read(first, count, image.data() + first * Qcow2Stream::kCluster);
  }
  return image;
}

}  // namespace

TEST_CASE("a disk survives its way into a qcow2 image, in clusters of any size") {
  const Bytes disk = some_disk(9 * kMib + 512, 2 * kMib);
  for (std::uint64_t cluster = 4096; cluster <= 2 * kMib; cluster *= 2) {
    for (const auto& compression : {std::optional<Compression>(), std::make_optional(Compression::deflate),
                                    std::make_optional(Compression::zstd)}) {
      CAPTURE(cluster);
      const Bytes image = to_qcow2(disk_of(disk), compression, cluster);
      CHECK((content(image) == disk));
      CHECK(image.size() < 5 * kMib + 8 * cluster);
    }
  }
}

TEST_CASE("refcount blocks are written as they fill up, and count themselves") {
  // A block of 4 KiB counts 8 MiB.
  const Bytes disk = some_disk(40 * kMib, 30 * kMib);
  for (const unsigned threads : {1U, 4U}) {
    CAPTURE(threads);
    CHECK((content(to_qcow2(disk_of(disk), std::nullopt, 4096, threads)) == disk));
    CHECK((content(to_qcow2(disk_of(disk), Compression::zstd, 4096, threads)) == disk));
  }
}

TEST_CASE("a disk of zeros becomes an image of tables alone") {
  const Bytes disk(4 * kMib, 0);
  const Bytes image = to_qcow2(disk_of(disk), Compression::deflate, 65536);
  CHECK(image.size() == 4 * 65536);
  CHECK((content(image) == disk));
}

TEST_CASE("clusters of an impossible size, or too small for the disk, are refused") {
  const Disk disk = disk_of(Bytes(kMib, 1));
  Cancellation never;
  for (const std::uint64_t cluster : {0U, 512U, 4097U, 4U << 20}) {
    CAPTURE(cluster);
    CHECK_THROWS_AS(convert_to_qcow2(disk, -1, "", std::nullopt, cluster, 1, never), InvalidArgument);
  }
  const ScratchDirectory scratch;
  const std::string huge = scratch / "huge";
  NewFile file(huge);
  truncate_to(file.get(), std::uint64_t{9} << 40, huge);
  ConvertOptions options;
  options.format = "qcow2";
  options.max_virtual_bytes = kAnySize;
  options.cluster_size = 4096;
  CHECK_THROWS_AS(convert_image({{huge, "raw"}}, scratch / "target", options, never), InvalidArgument);
  CHECK_FALSE(std::filesystem::exists(scratch / "target"));
}

TEST_CASE("a stream is a good image of the same disk, in pieces of any size") {
  const Bytes disk = some_disk(9 * kMib + 512, 2 * kMib);
  const Bytes whole = streamed(disk_of(disk), 1000);
  CHECK((content(whole) == disk));
  for (const std::uint64_t step : {1U, 3U, 16U}) CHECK((streamed(disk_of(disk), step) == whole));
}

TEST_CASE("a stream leaves out what the map shows as zeros, and has nothing to say of an empty disk") {
  const Qcow2Image image;
  const ImageVerdict verdict = inspect(image.bytes, "qcow2");
  // Header, refcount table, block, L1, L2, one cluster of data.
  CHECK(streamed(disk_of(image.bytes, verdict.qcow2), 1).size() == 6 * Qcow2Stream::kCluster);
  Qcow2Image empty;
  empty.put64(empty.l1, 0);
  const ImageVerdict nothing = inspect(empty.bytes, "qcow2");
  const Bytes tables = streamed(disk_of(empty.bytes, nothing.qcow2), 1);
  CHECK(tables.size() == 4 * Qcow2Stream::kCluster);
  CHECK((content(tables) == Bytes(empty.virtual_size, 0)));
}

TEST_CASE("a disk that grows data while it is streamed is found out") {
  const ScratchDirectory scratch;
  const std::string path = scratch / "raw";
  NewFile file(path);
  truncate_to(file.get(), kMib, path);
  const Cancellation never;
  const Disk disk = Disk::open({{path, "raw"}}, kAnySize, never);
  const Bytes data(65536, 1);
  write_at(file.get(), data.data(), data.size(), 0, path);
  Qcow2Stream stream(disk, never);
  write_at(file.get(), data.data(), data.size(), 524288, path);
  Bytes bytes(stream.clusters() * Qcow2Stream::kCluster);
  CHECK(image_rule([&] { stream.read(0, stream.clusters(), bytes.data()); }) == "changed");
}
