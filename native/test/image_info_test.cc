// What an image says of itself, read from bytes made here; and of damaged ones, always an answer or a
// refusal.
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>

#include "image/info.h"
#include "image_fixture.h"
#include "random_fixture.h"

using namespace node_compute;
using namespace node_compute::qcow2;
using namespace node_compute::test;

namespace {

/// With two snapshots in the first data cluster, two bitmaps in the second, and a backing file.
Qcow2Image full_image() {
  Qcow2Image image(3, 12, 3);
  std::uint64_t at = image.data;
  image.put32(60, 2);
  image.put64(64, at);
  for (const std::uint32_t extra : {0U, 24U}) {
    std::memset(image.bytes.data() + at, 0, 80);
    image.put16(at + 12, 1);
    image.put16(at + 14, 3);
    image.put32(at + 16, 1000);
    image.put64(at + 24, 5000000007);
    image.put32(at + 32, 77);
    image.put32(at + 36, extra);
    if (extra > 0) {
      image.put64(at + 40, 99);
      image.put64(at + 48, 4096);
      image.put64(at + 56, 0xffffffffffffffff);
    }
    image.put_text(at + 40 + extra, "1one");
    at += 48 + extra;
  }
  const std::uint64_t directory = image.data + image.cluster;
  std::memset(image.bytes.data() + directory, 0, 64);
  for (const std::uint64_t entry : {directory, directory + 32}) {
    image.put64(entry, image.data + 2 * image.cluster);
    image.put32(entry + 8, 1);
    image.put32(entry + 12, entry == directory ? 1 : 2);
    image.bytes[entry + 16] = 1;
    image.bytes[entry + 17] = 16;
    image.put16(entry + 18, 4);
    image.put_text(entry + 24, "bits");
  }
  image.put64(88, kAutoclearBitmaps);
  Bytes extension(24, 0);
  store_be<std::uint32_t>(extension.data(), 2);
  store_be<std::uint64_t>(extension.data() + 8, 64);
  store_be<std::uint64_t>(extension.data() + 16, directory);
  image.put_extension(kExtensionBitmaps, extension);
  image.put64(8, 200);
  image.put32(16, 4);
  image.put_text(200, "base");
  return image;
}

ImageInfo info_of(const Bytes& bytes) { return file_info(in_memory(bytes), "qcow2"); }

std::string info_rule(const std::function<void(Qcow2Image&)>& damage) {
  Qcow2Image image = full_image();
  damage(image);
  return image_rule([&image] { info_of(image.bytes); });
}

}  // namespace

TEST_CASE("an image tells its snapshots, bitmaps and base") {
  const ImageInfo info = info_of(full_image().bytes);
  CHECK(info.virtual_size == 1 << 20);
  REQUIRE(info.qcow2);
  CHECK(info.qcow2->full_backing_name == "base");
  REQUIRE(info.qcow2->snapshots.size() == 2);
  const Qcow2Snapshot& plain = info.qcow2->snapshots[0];
  CHECK(plain.id == "1");
  CHECK(plain.name == "one");
  CHECK(plain.vm_state_bytes == 77);
  CHECK(plain.vm_clock_nanoseconds == 5000000007);
  CHECK_FALSE(plain.virtual_size);
  CHECK_FALSE(plain.instructions);
  const Qcow2Snapshot& extended = info.qcow2->snapshots[1];
  CHECK(extended.name == "one");
  CHECK(extended.vm_state_bytes == 99);
  CHECK(extended.virtual_size == 4096);
  CHECK_FALSE(extended.instructions);
  REQUIRE(info.qcow2->bitmaps.size() == 2);
  CHECK(info.qcow2->bitmaps[0].in_use);
  CHECK_FALSE(info.qcow2->bitmaps[0].automatic);
  CHECK(info.qcow2->bitmaps[1].automatic);
  CHECK(info.qcow2->bitmaps[1].name == "bits");
  CHECK(info.qcow2->bitmaps[1].granularity == 65536);
}

TEST_CASE("lists that leave their table or the file are refused") {
  const std::uint64_t directory = full_image().data + full_image().cluster;
  CHECK(info_rule([](Qcow2Image&) {}).empty());
  CHECK(info_rule([](Qcow2Image& i) { i.put64(64, 0); }) == "snapshots");
  CHECK(info_rule([](Qcow2Image& i) { i.put64(64, ~std::uint64_t{0}); }) == "truncated");
  CHECK(info_rule([](Qcow2Image& i) { i.put32(i.data + 36, kMaxSnapshotExtraBytes + 1); }) == "snapshots");
  CHECK(info_rule([](Qcow2Image& i) { i.put16(i.data + 48 + 12, 0xffff); }) == "truncated");
  CHECK(info_rule([](Qcow2Image& i) { i.put32(60, kMaxSnapshots + 1); }) == "snapshots");
  CHECK(info_rule([&](Qcow2Image& i) { i.put32(directory + 20, 0xffffffff); }) == "bitmaps");
  CHECK(info_rule([&](Qcow2Image& i) { i.put32(directory + 32 + 20, 8); }) == "bitmaps");
  CHECK(info_rule([&](Qcow2Image& i) { i.bytes[directory + 16] = 2; }) == "bitmaps");
  CHECK(info_rule([&](Qcow2Image& i) { i.bytes[directory + 17] = 63; }) == "bitmaps");
  CHECK(info_rule([&](Qcow2Image& i) { i.put16(directory + 18, 0); }) == "bitmaps");
  CHECK(info_rule([&](Qcow2Image& i) { i.put32(directory + 32 + 8, 2); }) == "bitmaps");
  CHECK(info_rule([](Qcow2Image& i) { i.put64(104 + 8 + 16, ~std::uint64_t{0} - 8); }) == "truncated");
  CHECK(info_rule([](Qcow2Image& i) { i.put64(104 + 8 + 8, 40); }) == "bitmaps");
}

TEST_CASE("names that take much memory are not told") {
  constexpr std::uint32_t kSnapshots = 256;
  // 40 + 2 * 65535 bytes each, in whole words.
  constexpr std::uint64_t kEntryBytes = 131112;
  Qcow2Image image(3, 12, 1);
  const std::uint64_t table = image.bytes.size();
  image.bytes.resize(table + kSnapshots * kEntryBytes);
  for (std::uint32_t i = 0; i < kSnapshots; ++i) {
    image.put32(table + i * kEntryBytes + 12, 0xffffffff);
  }
  image.put64(64, table);
  image.put32(60, 64);
  CHECK(info_of(image.bytes).qcow2->snapshots.size() == 64);
  image.put32(60, kSnapshots);
  CHECK(image_rule([&] { info_of(image.bytes); }) == "snapshots");
}

TEST_CASE("a damaged image gives facts or a refusal, and nothing else") {
  const std::uint64_t seed = test_seed("info mutation");
  std::mt19937_64 random(seed);
  const Qcow2Image good = full_image();
  const std::pair<std::uint64_t, std::uint64_t> places[] = {
      {0, 256}, {good.data, 128}, {good.data + good.cluster, 72}};
  const std::uint64_t values[] = {0, 1, 0x7f, 0xff, 0xffff, 0xffffffff, ~std::uint64_t{0}};
  std::size_t answered = 0;
  for (int round = 0; round < 5000; ++round) {
    CAPTURE(seed);
    CAPTURE(round);
    Bytes bytes = good.bytes;
    for (std::uint64_t changes = 1 + random() % 3; changes > 0; --changes) {
      const auto& [begin, length] = places[random() % std::size(places)];
      const std::uint64_t at = begin + random() % length;
      if (random() % 2 == 0) {
        bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ 1U << random() % 8);
      } else {
        store_be(bytes.data() + at / 8 * 8, values[random() % std::size(values)]);
      }
    }
    if (random() % 8 == 0) bytes.resize(random() % bytes.size());
    try {
      const ImageInfo info = info_of(bytes);
      CHECK(info.qcow2->snapshots.size() <= kMaxSnapshots);
      CHECK(info.qcow2->bitmaps.size() <= kMaxBitmaps);
      ++answered;
    } catch (const ImageError&) {
      continue;
    }
  }
  CHECK(answered > 500);
}
