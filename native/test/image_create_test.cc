// New qcow2 images: our own validator and the fields of the format say that they are right; test/integration
// asks QEMU.
#include <sys/stat.h>

#include <string>

#include "executor/failure.h"
#include "image/qcow2_create.h"
#include "image/qcow2_validator.h"
#include "image_fixture.h"

using namespace node_compute;
using namespace node_compute::qcow2;
using namespace node_compute::test;

namespace {

constexpr std::uint64_t kGib = std::uint64_t{1} << 30;

Qcow2CreateOptions options(std::uint64_t virtual_size, std::uint64_t cluster_size = 65536) {
  return {BackingFile{"/var/lib/base", "raw"}, virtual_size, cluster_size};
}

Qcow2Facts facts_of(const std::string& path) {
  const Cancellation never;
  return validate_qcow2(SourceFile(path), {kAnySize, true}, never);
}

}  // namespace

TEST_CASE("an overlay names its backing file and format, and passes our own validator") {
  const ScratchDirectory scratch;
  for (std::uint64_t cluster = 512; cluster <= 2 << 20; cluster *= 2) {
    for (const std::uint64_t size : {std::uint64_t{512}, std::uint64_t{1} << 20, kGib}) {
      CAPTURE(cluster);
      CAPTURE(size);
      const std::string path = scratch / (std::to_string(cluster) + "-" + std::to_string(size));
      create_qcow2(path, options(size, cluster));
      const Qcow2Facts facts = facts_of(path);
      CHECK(facts.header.backing_name == "/var/lib/base");
      CHECK(facts.header.backing_format == "raw");
      CHECK(facts.header.virtual_size == size);
      CHECK(facts.header.cluster_size() == cluster);
      CHECK(facts.data_bytes == 0);
    }
  }
}

TEST_CASE("an image without a backing file names none, and any cluster size has room for its header") {
  const ScratchDirectory scratch;
  for (std::uint64_t cluster = 512; cluster <= 2 << 20; cluster *= 2) {
    CAPTURE(cluster);
    const std::string path = scratch / std::to_string(cluster);
    create_qcow2(path, {std::nullopt, kGib, cluster});
    const Qcow2Facts facts = facts_of(path);
    CHECK_FALSE(facts.header.backing_name);
    CHECK(facts.header.backing_format.empty());
    CHECK(facts.header.virtual_size == kGib);
    CHECK(facts.header.incompatible == 0);
    CHECK(facts.header.compression_type == 0);
  }
}

TEST_CASE("zstd is a type and a feature that readers must know") {
  const ScratchDirectory scratch;
  for (const bool backing : {false, true}) {
    Qcow2CreateOptions zstd = options(kGib);
    if (!backing) zstd.backing.reset();
    zstd.compression = Compression::zstd;
    const std::string path = scratch / std::to_string(backing);
    create_qcow2(path, zstd);
    const Qcow2Header header = facts_of(path).header;
    CHECK(header.incompatible == kIncompatibleCompression);
    CHECK(header.compression_type == 1);
    CHECK(header.backing_name.has_value() == backing);
  }
}

TEST_CASE("every cluster that an overlay uses is counted once, and no other") {
  const ScratchDirectory scratch;
  for (const std::uint64_t cluster : {512U, 4096U, 65536U}) {
    // With 512 bytes a cluster the refcounts of a large L1 table need several blocks and table clusters.
    const std::uint64_t size = cluster == 512 ? 64 * kGib : 1024 * kGib;
    CAPTURE(cluster);
    const std::string path = scratch / std::to_string(cluster);
    create_qcow2(path, options(size, cluster));
    const Qcow2Header header = facts_of(path).header;
    const Bytes bytes = read_bytes(path);
    const std::uint64_t used = divide_up(bytes.size(), cluster);
    std::uint64_t counted = 0;
    std::uint64_t wrong = 0;
    const std::uint64_t per_block = cluster / 2;
    for (std::uint64_t i = 0; i < header.refcount_table_clusters * cluster / 8; ++i) {
      const auto block = load_be<std::uint64_t>(bytes.data() + header.refcount_table_offset + i * 8);
      for (std::uint64_t j = 0; block != 0 && j < per_block; ++j) {
        const auto count = load_be<std::uint16_t>(bytes.data() + block + j * 2);
        if (count != (i * per_block + j < used ? 1 : 0)) ++wrong;
        counted += count;
      }
    }
    CHECK(wrong == 0);
    CHECK(counted == used);
  }
}

TEST_CASE("a size is rounded up to whole sectors") {
  const ScratchDirectory scratch;
  create_qcow2(scratch / "disk", options(1025));
  CHECK(facts_of(scratch / "disk").header.virtual_size == 1536);
}

TEST_CASE("an overlay takes little room, has mode 0600 under any umask, and replaces nothing") {
  const ScratchDirectory scratch;
  const std::string path = scratch / "disk";
  const mode_t before = umask(0777);
  create_qcow2(path, options(1024 * kGib));
  umask(before);
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0600);
  CHECK(status.st_blocks * 512 <= 64 * 1024);
  CHECK_THROWS_AS(create_qcow2(path, options(kGib)), SystemError);
  CHECK(facts_of(path).header.virtual_size == 1024 * kGib);
  REQUIRE(::symlink("elsewhere", (scratch / "link").c_str()) == 0);
  CHECK_THROWS_AS(create_qcow2(scratch / "link", options(kGib)), SystemError);
  CHECK(scratch.entries() == 2);
}

TEST_CASE("what no QEMU could open is refused, and makes no file") {
  const ScratchDirectory scratch;
  const auto refused = [&](const Qcow2CreateOptions& wrong) {
    try {
      create_qcow2(scratch / "disk", wrong);
      return false;
    } catch (const InvalidArgument&) {
      return scratch.entries() == 0;
    }
  };
  for (const std::uint64_t cluster : {0U, 1U, 256U, 513U, 65537U, 4U << 20})
    CHECK(refused(options(kGib, cluster)));
  CHECK(refused(options(0)));
  CHECK(refused(options(~std::uint64_t{0})));
  // 32 MiB of L1 table reach this far with these clusters, and no sector further.
  const std::uint64_t reach = (kMaxL1Bytes / 8) * (4096 / 8) * 4096;
  CHECK(refused(options(reach + 1, 4096)));
  CHECK(refused(options(reach * 2, 4096)));
  create_qcow2(scratch / "largest", options(reach, 4096));
  REQUIRE(::unlink((scratch / "largest").c_str()) == 0);
  for (const char* name : {"", "base", "../base", "nbd:host:1"}) {
    Qcow2CreateOptions wrong = options(kGib);
    wrong.backing->path = name;
    CHECK(refused(wrong));
  }
  Qcow2CreateOptions wrong = options(kGib);
  wrong.backing->path = std::string("/base\0more", 10);
  CHECK(refused(wrong));
  wrong.backing->path = "/" + std::string(kMaxBackingNameBytes, 'x');
  CHECK(refused(wrong));
  for (const char* format : {"", "vmdk", "RAW"}) {
    wrong = options(kGib);
    wrong.backing->format = format;
    CHECK(refused(wrong));
  }
}

TEST_CASE("header and path fill the first cluster to its last byte, and no further") {
  const ScratchDirectory scratch;
  Qcow2CreateOptions full = options(1 << 20, 512);
  full.backing->path = "/" + std::string(512 - 112 - 16 - 8 - 1, 'x');
  create_qcow2(scratch / "fits", full);
  CHECK(facts_of(scratch / "fits").header.cluster_size() == 512);
  full.backing->path += 'x';
  CHECK_THROWS_AS(create_qcow2(scratch / "not", full), InvalidArgument);
  CHECK(scratch.entries() == 1);
}
