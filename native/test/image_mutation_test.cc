// Images damaged at random: always a verdict, never a crash; and what is accepted points nowhere outside. The
// seed is printed.
#include "executor/failure.h"
#include "image/convert_qcow2.h"
#include "image/convert_raw.h"
#include "image/format.h"
#include "image/qcow2_stream.h"
#include "image_fixture.h"
#include "random_fixture.h"

using namespace node_compute;
using namespace node_compute::qcow2;
using namespace node_compute::test;

namespace {

void damage(std::mt19937_64& random, Qcow2Image& image) {
  const std::uint64_t metadata = 5 * image.cluster;
  switch (random() % 4) {
    case 0:
      image.put64(random() % (metadata / 8) * 8, awkward(random, image.bytes.size()));
      return;
    case 1:
      image.put32(random() % 28 * 4, static_cast<std::uint32_t>(awkward(random, image.bytes.size())));
      return;
    case 2: {
      const std::uint64_t bit = random() % ((random() % 2 == 0 ? 112 : metadata) * 8);
      image.bytes[bit / 8] = static_cast<std::uint8_t>(image.bytes[bit / 8] ^ 1U << bit % 8);
      return;
    }
    default: {
      // Where the interesting numbers are.
      const std::uint64_t places[] = {8,           24,          40,       48,       64,          72,
                                      image.table, image.block, image.l1, image.l2, image.l2 + 8};
      image.put64(places[random() % std::size(places)], awkward(random, image.bytes.size()));
    }
  }
}

bool is_valid(const Bytes& bytes, std::uint64_t window) {
  const Cancellation never;
  return image_rule([&] { validate_qcow2(in_memory(bytes), {kAnySize}, never, window); }).empty();
}

/// Walks an accepted image once more, in the plainest way: does it stay in the file?
bool in_bounds(const Qcow2Image& image, const Qcow2Header& header) {
  const std::uint64_t size = image.bytes.size();
  const std::uint64_t entry_bytes = header.extended_l2() ? 16 : 8;
  for (std::uint64_t i = 0; i < header.l1_entries; ++i) {
    const std::uint64_t table = image.get64(header.l1_offset + i * 8) & kOffsetMask;
    if (table == 0) continue;
    if (table + header.cluster_size() > size) return false;
    for (std::uint64_t at = table; at < table + header.cluster_size(); at += entry_bytes) {
      const std::uint64_t entry = image.get64(at);
      if ((entry & kCompressed) == 0 && (entry & kOffsetMask) >= size) return false;
    }
  }
  return true;
}

/// Reads all that the guest would; a damaged stream throws ImageError. `in_every_way` takes its time.
void convert(const Qcow2Image& image, const Qcow2Header& header, bool in_every_way) {
  std::vector<Layer> layers;
  layers.push_back({in_memory(image.bytes), header});
  const Disk disk(std::move(layers));
  const FileDescriptor raw(memfd_create("raw", MFD_CLOEXEC));
  const FileDescriptor qcow2(memfd_create("qcow2", MFD_CLOEXEC));
  REQUIRE(raw);
  REQUIRE(qcow2);
  Cancellation never;
  convert_to_raw(disk, raw.get(), "raw", {1}, never);
  if (!in_every_way) return;
  convert_to_qcow2(disk, qcow2.get(), "qcow2", Compression::zstd, 65536, 1, never);
  Qcow2Stream stream(disk, never);
  std::vector<std::uint8_t> bytes(stream.clusters() * Qcow2Stream::kCluster);
  stream.read(0, stream.clusters(), bytes.data());
  if (disk.size() > 0) CHECK(inspect(bytes, "qcow2").virtual_size == disk.size());
}

}  // namespace

TEST_CASE("mutated images are refused or stay inside their file") {
  const std::uint64_t seed = test_seed("mutation");
  std::mt19937_64 random(seed);
  int accepted = 0;
  int refused = 0;
  for (int round = 0; round < 20000; ++round) {
    Qcow2Image image(random() % 2 == 0 ? 2 : 3, 9 + static_cast<unsigned>(random() % 5));
    for (std::uint64_t n = random() % 3; n > 0; --n) damage(random, image);
    if (random() % 8 == 0) image.bytes.resize(random() % image.bytes.size());
    CAPTURE(seed);
    CAPTURE(round);
    // However few clusters of the file are seen at once, the verdict is the same.
    if (round % 4 == 0) {
      const std::uint64_t window = 1 + random() % 4;
      CHECK(is_valid(image.bytes, window) == is_valid(image.bytes, ClusterMap::kWindow));
    }
    try {
      const ImageVerdict verdict = inspect(image.bytes, "qcow2");
      ++accepted;
      REQUIRE(verdict.qcow2);
      CHECK(in_bounds(image, *verdict.qcow2));
      if (verdict.virtual_size <= std::uint64_t{1} << 26) convert(image, *verdict.qcow2, round % 16 == 0);
    } catch (const ImageError& error) {
      ++refused;
      CHECK_FALSE(error.rule.empty());
    }
  }
  // Both ends must be reached, or the damage is too weak or too strong to prove anything.
  CHECK(accepted > 1000);
  CHECK(refused > 1000);
}
