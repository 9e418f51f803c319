// Disks of one image and of chains: what is opened, what is refused, what the guest reads.
#include <string>

#include "executor/failure.h"
#include "image/disk.h"
#include "image/disk_map.h"
#include "image/disk_reader.h"
#include "image/qcow2_create.h"
#include "image_fixture.h"

using namespace node_compute;
using namespace node_compute::qcow2;
using namespace node_compute::test;

namespace {

using Layers = std::vector<LayerName>;

Disk open(const Layers& layers, std::uint64_t max = kAnySize) {
  const Cancellation never;
  return Disk::open(layers, max, never);
}

std::string rule(const Layers& layers, std::uint64_t max = kAnySize) {
  return image_rule([&] { open(layers, max); });
}

Bytes read(const Disk& disk, std::uint64_t offset, std::uint64_t bytes) {
  Bytes result(bytes, 0xee);
  DiskReader(disk).read(offset, result.data(), bytes);
  return result;
}

/// A base of 8 KiB, 0x11 then 0x22, and an overlay of 1 MiB over it that holds nothing.
class Chain {
 public:
  Chain() {
    Bytes bytes(4096, 0x11);
    bytes.resize(8192, 0x22);
    write_bytes(base, bytes);
    create_qcow2(overlay, {BackingFile{"/elsewhere", "raw"}, 1 << 20, 4096});
  }

  const ScratchDirectory scratch;
  const std::string base = scratch / "base";
  const std::string overlay = scratch / "overlay";
};

}  // namespace

TEST_CASE("an overlay that holds nothing is its base, and zeros beyond it") {
  const Chain chain;
  const Disk disk = open({{chain.overlay, "qcow2"}, {chain.base, "raw"}});
  CHECK(disk.size() == 1 << 20);
  CHECK((read(disk, 0, 4096) == Bytes(4096, 0x11)));
  CHECK((read(disk, 8191, 1) == Bytes{0x22}));
  CHECK((read(disk, 8192, 4096) == Bytes(4096, 0)));
  CHECK((read(disk, (1 << 20) - 1, 1) == Bytes{0}));
  CHECK(read(disk, 4000, 0).empty());
}

TEST_CASE("the upper image hides the lower one, with zeros too") {
  const ScratchDirectory scratch;
  Qcow2Image top;
  top.put64(top.l2 + 8, kZero);
  top.put64(top.l2 + 16, 0);
  top.put64(8, 512);
  top.put32(16, 1);
  top.bytes[512] = 'x';
  write_bytes(scratch / "top", top.bytes);
  write_bytes(scratch / "base", Bytes(1 << 20, 0x55));
  const Disk disk = open({{scratch / "top", "qcow2"}, {scratch / "base", "raw"}});
  CHECK((read(disk, 0, 4096) == Bytes(4096, 0xa0)));
  CHECK((read(disk, 4096, 4096) == Bytes(4096, 0)));
  CHECK((read(disk, 8192, 4096) == Bytes(4096, 0x55)));
  const Extents extents = disk.map(0, disk.size());
  REQUIRE(extents.size() == 3);
  CHECK(extents[0].layer == 0);
  CHECK(extents[1].kind == Extent::Kind::zeros);
  CHECK(extents[2].layer == 1);
  CHECK(extents[2].file_offset == 8192);
}

TEST_CASE("the names in the headers and the images that are given must fit") {
  const Chain chain;
  write_bytes(chain.scratch / "alone", Qcow2Image().bytes);
  CHECK(rule({{chain.overlay, "qcow2"}}) == "backing-file");
  CHECK(rule({{chain.scratch / "alone", "qcow2"}, {chain.base, "raw"}}) == "backing-file");
  CHECK(rule({{chain.base, "raw"}, {chain.base, "raw"}}) == "backing-file");
  CHECK(rule({{chain.overlay, "qcow2"}, {chain.scratch / "alone", "qcow2"}}) == "format-mismatch");
  CHECK(rule({{chain.base, "vmdk"}}) == "unsupported-format");
  CHECK(rule({{chain.base, "qcow2"}}) == "header");
  CHECK(rule({{"/dev/zero", "raw"}}) == "not-regular-file");
  write_bytes(chain.scratch / "empty", {});
  CHECK(rule({{chain.scratch / "empty", "raw"}}) == "empty");
  CHECK_THROWS_AS(open({}), InvalidArgument);
  CHECK_THROWS_AS(open(Layers(Disk::kMaxLayers + 1, {chain.base, "raw"})), InvalidArgument);
  CHECK_THROWS_AS(open({{chain.scratch / "missing", "raw"}}), SystemError);
}

TEST_CASE("every image of a chain is validated and held against the limit") {
  const Chain chain;
  CHECK(rule({{chain.overlay, "qcow2"}, {chain.base, "raw"}}, 1 << 20).empty());
  CHECK(rule({{chain.overlay, "qcow2"}, {chain.base, "raw"}}, (1 << 20) - 1) == "too-large");
  write_bytes(chain.scratch / "huge", Bytes((1 << 20) + 1, 1));
  CHECK(rule({{chain.overlay, "qcow2"}, {chain.scratch / "huge", "raw"}}, 1 << 20) == "too-large");
  Qcow2Image broken;
  broken.put64(broken.l2, broken.table | kCopied);
  write_bytes(chain.scratch / "broken", broken.bytes);
  create_qcow2(chain.scratch / "second", {BackingFile{"/elsewhere", "qcow2"}, 1 << 20, 4096});
  CHECK(rule({{chain.scratch / "second", "qcow2"}, {chain.scratch / "broken", "qcow2"}}) == "overlap");
}

TEST_CASE("a chain of as many images as there may be is read through") {
  const Chain chain;
  Layers layers{{chain.base, "raw"}};
  for (std::size_t i = 1; i < Disk::kMaxLayers; ++i) {
    const std::string path = chain.scratch / std::to_string(i);
    create_qcow2(path, {BackingFile{"/elsewhere", layers.front().format}, 1 << 20, 512U << i % 8});
    layers.insert(layers.begin(), {path, "qcow2"});
  }
  CHECK((read(open(layers), 4095, 2) == Bytes{0x11, 0x22}));
}

TEST_CASE("a map goes on where it ended, in as many steps as it takes") {
  const ScratchDirectory scratch;
  // Every other cluster, so that no two extents become one.
  Qcow2Image image(3, 9, 64);
  image.virtual_size = 64 << 9;
  image.put64(24, image.virtual_size);
  for (std::uint64_t i = 1; i < 64; i += 2) image.put64(image.l2 + i * 8, 0);
  write_bytes(scratch / "image", image.bytes);
  const Disk disk = open({{scratch / "image", "qcow2"}});
  const Cancellation never;
  const Extents extents = map_disk(disk, 0, never);
  CHECK(extents.size() == 64);
  CHECK(map_disk(disk, extents[10].offset, never).size() == 54);
  CHECK(map_disk(disk, disk.size(), never).empty());
  Cancellation cancelled;
  cancelled.cancel();
  CHECK_THROWS_AS(map_disk(disk, 0, cancelled), Cancelled);
}

TEST_CASE("a raw disk has holes where its file has, and is rounded up to a sector") {
  const ScratchDirectory scratch;
  const std::string path = scratch / "raw";
  write_bytes(path, Bytes(700, 0x33));
  const Disk disk = open({{path, "raw"}});
  CHECK(disk.size() == 1024);
  CHECK((read(disk, 699, 3) == Bytes{0x33, 0, 0}));
}
