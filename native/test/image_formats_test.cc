// The formats beside qcow2: good images of each pass, and each rule has the smallest change that breaks it.
#include <random>
#include <string>

#include "disk_fixture.h"
#include "executor/failure.h"
#include "image_fixture.h"

using namespace node_compute;
using namespace node_compute::test;

namespace {

const std::vector<std::pair<std::string, Sample>> kDisks = {
    {"sparse VMDK", sparse_vmdk()},
    {"stream-optimised VMDK", stream_vmdk()},
    {"fixed VHD", fixed_vhd()},
    {"dynamic VHD", dynamic_vhd()},
    {"VHDX", vhdx()},
    {"VDI", vdi()},
    {"QED", qed()},
    {"qcow version 1", qcow1()},
    {"ploop", parallels()},
    {"ploop that counts in sectors", parallels(false)},
};

std::string rule(const Sample& disk, std::uint64_t most = kAnySize) {
  return rule_of(disk.bytes, disk.format, most);
}

/// A plain pointer where it can be: there are many, and each type of its own takes the compiler its time.
using Damage = void (*)(Sample&);

/// The rule after a change, with the checksums made right again.
template <class AnyDamage>
std::string broken(Sample disk, AnyDamage damage) {
  damage(disk);
  disk.seal(disk.bytes);
  return rule(disk);
}

}  // namespace

TEST_CASE("a good image of each format is what it is declared to be, and nothing else") {
  for (const auto& [name, disk] : kDisks) {
    CAPTURE(name);
    const ImageVerdict verdict = inspect(disk.bytes, disk.format);
    CHECK(verdict.format == disk.format);
    CHECK(verdict.virtual_size == disk.virtual_size);
    CHECK(verdict.data_bytes == disk.data_bytes);
    CHECK(verdict.file_size == disk.bytes.size());
    CHECK(rule(disk, disk.virtual_size).empty());
    CHECK(rule(disk, disk.virtual_size - 1) == "too-large");
    for (const char* other :
         {"raw", "iso", "qcow2", "vmdk", "vhd", "vhdx", "vdi", "qed", "qcow", "ploop", "luks"}) {
      if (other != disk.format) CHECK(rule_of(disk.bytes, other) == "format-mismatch");
    }
  }
}

TEST_CASE("a cut file of each format is refused") {
  for (const auto& [name, disk] : kDisks) {
    CAPTURE(name);
    for (std::size_t cut = 1; cut < disk.bytes.size(); cut = cut * 3 / 2 + 1) {
      CAPTURE(cut);
      CHECK_FALSE(
          rule_of({disk.bytes.begin(), disk.bytes.end() - static_cast<long>(cut)}, disk.format).empty());
    }
  }
}

TEST_CASE("images of each format damaged at random give a verdict") {
  std::mt19937_64 random(1);
  for (const auto& [name, disk] : kDisks) {
    int accepted = 0;
    for (int round = 0; round < 300; ++round) {
      Sample mutant = disk;
      for (int edits = 0; edits < 2; ++edits) {
        const std::size_t size = mutant.bytes.size();
        const std::size_t places[] = {random() % 128, random() % std::min<std::size_t>(size - 8, 16384),
                                      size - 8 - random() % 504};
        const std::uint64_t values[] = {0, 1, ~std::uint64_t{0}, size, random(), random() % 65536};
        mutant.le64(places[random() % std::size(places)], values[random() % std::size(values)]);
      }
      mutant.seal(mutant.bytes);
      accepted += rule(mutant).empty() ? 1 : 0;
    }
    CAPTURE(name);
    CHECK(accepted < 300);
  }
}

TEST_CASE("an encrypted container is refused as such") {
  Bytes bytes(4096);
  std::memcpy(bytes.data(), "LUKS\xba\xbe", 6);
  CHECK(rule_of(bytes, "luks") == "encrypted");
  CHECK(rule_of(bytes, "raw") == "format-mismatch");
}

TEST_CASE("VMDK: header") {
  const auto with = [](Damage damage) { return broken(sparse_vmdk(), damage); };
  CHECK(with([](Sample& d) { d.le32(4, 4); }) == "version");
  // QEMU would open what the descriptor names.
  CHECK(with([](Sample& d) { d.le64(12, 0); }) == "empty");
  CHECK(with([](Sample& d) { d.le64(12, ~std::uint64_t{0}); }) == "header");
  CHECK(with([](Sample& d) { d.le64(20, 0); }) == "header");
  CHECK(with([](Sample& d) { d.le64(20, 7); }) == "header");
  CHECK(with([](Sample& d) { d.le64(20, 0x400000); }) == "header");
  CHECK(with([](Sample& d) { d.le32(44, 511); }) == "header");
  CHECK(with([](Sample& d) { d.le16(77, 2); }) == "compression");
  CHECK(with([](Sample& d) { d.le16(77, 1); }) == "compression");
  CHECK(with([](Sample& d) { d.le64(64, 49); }) == "truncated");
  CHECK(with([](Sample& d) { d.text(0, "COWD"); }) == "data-file");
}

TEST_CASE("VMDK: tables and grains") {
  const auto with = [](Damage damage) { return broken(sparse_vmdk(), damage); };
  CHECK(with([](Sample& d) { d.le64(56, 48); }) == "outside-file");
  CHECK(with([](Sample& d) { d.le64(56, std::uint64_t{1} << 55 | 26); }) == "outside-file");
  CHECK(with([](Sample& d) { d.le64(48, 48); }) == "outside-file");
  CHECK(with([](Sample& d) { d.le32(21 * 512, 45); }) == "outside-file");
  CHECK(with([](Sample& d) { d.le32(26 * 512, 45); }) == "outside-file");
  CHECK(with([](Sample& d) { d.le32(27 * 512, 41); }) == "outside-file");
  CHECK(with([](Sample& d) { d.le32(27 * 512, 0xffffffff); }) == "outside-file");
  CHECK(with([](Sample& d) {
          for (std::size_t i = 0; i < 16; ++i) d.le32(27 * 512 + i * 4, 32);
        }) == "overlap");
  // Without the flag the entry 1 is a place, where a whole grain must be.
  CHECK(with([](Sample& d) { d.le32(8, 3); }).empty());
}

TEST_CASE("VMDK: streams") {
  const auto with = [](Damage damage) { return broken(stream_vmdk(), damage); };
  CHECK(with([](Sample& d) { d.bytes.resize(d.bytes.size() - 1); }) == "truncated");
  CHECK(with([](Sample& d) { d.le32(38 * 512 + 12, 2); }) == "truncated");
  CHECK(with([](Sample& d) { d.le32(40 * 512 + 12, 3); }) == "truncated");
  CHECK(with([](Sample& d) { d.le64(39 * 512 + 12, 8192); }) == "header");
  CHECK(with([](Sample& d) { d.le64(39 * 512 + 56, ~std::uint64_t{0}); }) == "header");
  CHECK(with([](Sample& d) { d.le64(39 * 512 + 56, 41); }) == "outside-file");
  CHECK(with([](Sample& d) { d.le32(32 * 512 + 8, 0); }) == "compressed-cluster");
  CHECK(with([](Sample& d) { d.le32(32 * 512 + 8, 8193); }) == "compressed-cluster");
  CHECK(with([](Sample& d) { d.le32(32 * 512 + 8, 8192); }) == "outside-file");
  CHECK(with([](Sample& d) { d.le32(33 * 512, 100); }) == "outside-file");
  CHECK(with([](Sample& d) {
          for (std::size_t i = 0; i < 64; ++i) d.le32(33 * 512 + i * 4, 32);
        }) == "overlap");
}

TEST_CASE("VMDK: the descriptor names the file itself and no other") {
  const std::string extent = "RW 4096 SPARSE \"disk.vmdk\"";
  const auto with = [](const std::string& text) {
    return broken(sparse_vmdk(), [&](Sample& d) {
      std::memset(d.bytes.data() + 512, 0, 20 * 512);
      d.text(512, text);
    });
  };
  const auto type = [&](const std::string& name) { return with(vmdk_descriptor(name, extent)); };
  const auto extents = [&](const std::string& lines) {
    return with(vmdk_descriptor("monolithicSparse", lines));
  };
  CHECK(type("monolithicSparse").empty());
  CHECK(type("streamOptimized").empty());
  for (const char* name : {"monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "vmfs",
                           "vmfsSparse", "seSparse", "custom", "fullDevice", "MonolithicSparse", ""}) {
    CHECK(type(name) == "data-file");
  }
  CHECK(extents("RW 4096 FLAT \"/etc/shadow\" 0") == "data-file");
  CHECK(extents("RW 4096 SPARSE \"/etc/shadow\"") == "data-file");
  CHECK(extents("RW 4096 SPARSE \"..\\\\disk\"") == "data-file");
  CHECK(extents("RW 4096 SPARSE disk.vmdk") == "data-file");
  CHECK(extents("RW 4096 SPARSE \"a\" \"b\"") == "data-file");
  CHECK(extents("RW 4096 VMFSSPARSE \"disk.vmdk\"") == "data-file");
  CHECK(extents("rdonly 4096 FLAT \"/etc/shadow\" 0") == "data-file");
  CHECK(extents("RW") == "data-file");
  CHECK(extents("RW 4095 SPARSE \"disk.vmdk\"") == "descriptor");
  CHECK(extents(extent + "\n" + extent) == "descriptor");
  CHECK(extents("") == "descriptor");
  CHECK(extents(extent + "\nnonsense") == "descriptor");
  CHECK(extents(extent + "\ncreateType=\"monolithicSparse\"") == "descriptor");
  CHECK(extents(extent + "\r\n\tddb.uuid = \"x\"").empty());
  CHECK(extents(extent + "\nparentCID=12345678") == "backing-file");
  CHECK(extents(extent + "\nPARENTCID = 12345678") == "backing-file");
  CHECK(extents(extent + "\nparentFileNameHint=\"/etc/shadow\"") == "backing-file");
  CHECK(extents(extent + "\n# parentFileNameHint=\"/etc/shadow\"") == "backing-file");
  CHECK(with("version=1\n") == "descriptor");
  CHECK(with("") == "descriptor");
  CHECK(broken(sparse_vmdk(), [](Sample& d) { d.text(19 * 512, "parentFileNameHint=\"x\""); }) ==
        "backing-file");
  // Where the header puts the descriptor elsewhere, QEMU still reads the first place.
  CHECK(broken(sparse_vmdk(), [](Sample& d) { d.le64(28, 2); }) == "descriptor");
  CHECK(broken(sparse_vmdk(), [](Sample& d) { d.le64(28, 0); }) == "descriptor");
  CHECK(broken(sparse_vmdk(), [](Sample& d) { d.le64(36, 129); }) == "descriptor");
  CHECK(broken(sparse_vmdk(), [](Sample& d) { d.le64(36, 0); }) == "descriptor");
  CHECK(broken(sparse_vmdk(), [](Sample& d) {
          d.le64(36, 1);
          d.text(19 * 512, "parentFileNameHint=\"x\"");
        }) == "backing-file");
}

TEST_CASE("VMDK: a text that names files is no disk") {
  for (const char* text : {"# Disk DescriptorFile\nRW 1 FLAT \"/etc/shadow\" 0\n", "version=1\n"}) {
    Bytes bytes(1024);
    std::memcpy(bytes.data(), text, std::strlen(text));
    CHECK(rule_of(bytes, "vmdk") == "data-file");
    CHECK(rule_of(bytes, "raw") == "format-mismatch");
  }
}

TEST_CASE("VHD: footer") {
  const std::size_t at = 65536;
  const auto with = [](Damage damage) { return broken(fixed_vhd(), damage); };
  CHECK(with([](Sample& d) { d.be32(at + 12, 0x20000); }) == "version");
  CHECK(with([](Sample& d) { d.be32(at + 60, 4); }) == "backing-file");
  CHECK(with([](Sample& d) { d.be32(at + 60, 5); }) == "header");
  CHECK(with([](Sample& d) { d.be32(at + 60, 3); }) == "header");
  CHECK(with([](Sample& d) { d.be64(at + 48, 0); }) == "empty");
  CHECK(with([](Sample& d) { d.be64(at + 48, 65536 + 512); }) == "truncated");
  CHECK(with([](Sample& d) { d.be64(at + 48, ~std::uint64_t{0}); }) == "too-large");
  CHECK(with([](Sample& d) { d.text(0, "conectix"); }) == "header");
  Sample unsealed = fixed_vhd();
  unsealed.bytes[at + 200] = 1;
  CHECK(rule(unsealed) == "checksum");
  // As old tools cut it.
  CHECK(with([](Sample& d) { d.bytes.pop_back(); }) == "truncated");
}

TEST_CASE("VHD: the geometry is the size where QEMU takes it for the size") {
  Sample disk = fixed_vhd();
  disk.text(65536 + 28, "qemu");
  disk.bytes[65536 + 57] = 5;
  disk.bytes[65536 + 58] = 4;
  disk.bytes[65536 + 59] = 6;
  disk.seal(disk.bytes);
  CHECK(inspect(disk.bytes, "vhd").virtual_size == 5 * 4 * 6 * 512);
}

TEST_CASE("VHD: a fixed disk begins as any disk may, a dynamic one does not") {
  CHECK(broken(fixed_vhd(), [](Sample& d) { d.text(510, "\x55\xaa"); }).empty());
  CHECK(broken(fixed_vhd(), [](Sample& d) { d.text(512, "EFI PART"); }).empty());
  CHECK(broken(fixed_vhd(), [](Sample& d) { d.text(0, "QFI\xfb"); }) == "ambiguous-format");
  CHECK(broken(dynamic_vhd(), [](Sample& d) { d.text(510, "\x55\xaa"); }) == "ambiguous-format");
}

TEST_CASE("VHD: dynamic disks") {
  const auto with = [](Damage damage) { return broken(dynamic_vhd(), damage); };
  const auto both = [&](auto damage) {
    return broken(dynamic_vhd(), [&](Sample& d) {
      damage(d, 0);
      damage(d, d.bytes.size() - 512);
    });
  };
  CHECK(with([](Sample& d) { d.bytes[100] = 1; }) == "header");
  CHECK(both([](Sample& d, std::size_t at) { d.be32(at + 60, 4); }) == "backing-file");
  CHECK(both([](Sample& d, std::size_t at) { d.be64(at + 16, 1 << 30); }) == "truncated");
  CHECK(both([](Sample& d, std::size_t at) { d.be64(at + 16, 0); }) == "header");
  CHECK(both([](Sample& d, std::size_t at) { d.be64(at + 48, 65536 + 512); }) == "header");
  CHECK(with([](Sample& d) { d.be32(536, 0x20000); }) == "version");
  CHECK(with([](Sample& d) { d.bytes[512 + 65] = 'c'; }) == "backing-file");
  CHECK(with([](Sample& d) { d.text(512 + 576, "W2ku"); }) == "backing-file");
  CHECK(with([](Sample& d) { d.be64(528, 1 << 30); }) == "outside-file");
  CHECK(with([](Sample& d) { d.be32(540, 15); }) == "header");
  CHECK(with([](Sample& d) { d.be32(540, 0xffffffff); }) == "outside-file");
  CHECK(with([](Sample& d) { d.be32(544, 4097); }) == "header");
  CHECK(with([](Sample& d) { d.be32(544, 256); }) == "header");
  CHECK(with([](Sample& d) { d.be32(1536, 15); }) == "outside-file");
  CHECK(with([](Sample& d) { d.be32(1536, 0xfffffffe); }) == "outside-file");
  CHECK(with([](Sample& d) { d.be32(1544, 13); }) == "overlap");
  Sample unsealed = dynamic_vhd();
  unsealed.bytes[512 + 1000] = 1;
  CHECK(rule(unsealed) == "checksum");
}

TEST_CASE("VHDX: headers, log and regions") {
  constexpr std::size_t kKib = 1024;
  constexpr std::size_t kRegions = 192 * kKib;
  const auto with = [](Damage damage) { return broken(vhdx(), damage); };
  CHECK(with([](Sample& d) { d.text(64 * kKib, "HEAD"); }).empty());
  CHECK(with([](Sample& d) {
          d.text(64 * kKib, "HEAD");
          d.le16(128 * kKib + 66, 2);
        }) == "header");
  CHECK(with([](Sample& d) { d.le64(64 * kKib + 8, 128); }).empty());
  CHECK(with([](Sample& d) {
          d.le64(64 * kKib + 8, 128);
          d.bytes[64 * kKib + 16] = 1;
        }) == "header");
  CHECK(with([](Sample& d) { d.bytes[128 * kKib + 48] = 1; }) == "dirty-log");
  // The older header's log does not count.
  CHECK(with([](Sample& d) { d.bytes[64 * kKib + 48] = 1; }).empty());
  CHECK(with([](Sample& d) { d.le64(128 * kKib + 72, 4096 * kKib); }) == "outside-file");
  CHECK(with([](Sample& d) { d.text(kRegions, "REGI"); }) == "header");
  CHECK(with([](Sample& d) { d.le32(kRegions + 8, 2048); }) == "header");
  CHECK(with([](Sample& d) { d.le32(kRegions + 8, 1); }) == "header");
  CHECK(with([](Sample& d) { d.bytes[kRegions + 16] = 0; }) == "unknown-feature");
  CHECK(with([](Sample& d) { d.le32(kRegions + 8, 3); }) == "alignment");
  CHECK(with([](Sample& d) { d.le64(kRegions + 32, 512 * kKib); }) == "alignment");
  CHECK(with([](Sample& d) { d.le64(kRegions + 32, 0); }) == "alignment");
  CHECK(with([](Sample& d) { d.le64(kRegions + 32, 4096 * kKib); }) == "outside-file");
  CHECK(with([](Sample& d) { std::memcpy(&d.bytes[kRegions + 48], &d.bytes[kRegions + 16], 32); }) ==
        "header");
  Sample unsealed = vhdx();
  unsealed.bytes[kRegions + 2000] = 1;
  CHECK(rule(unsealed) == "checksum");
}

TEST_CASE("VHDX: metadata and blocks") {
  constexpr std::size_t kMib = 1 << 20;
  constexpr std::size_t kTable = 2 * kMib;
  constexpr std::size_t kItems = kTable + 65536;
  const auto with = [](Damage damage) { return broken(vhdx(), damage); };
  CHECK(with([](Sample& d) { d.text(kTable, "METADATA"); }) == "header");
  CHECK(with([](Sample& d) { d.le16(kTable + 10, 2048); }) == "header");
  CHECK(with([](Sample& d) { d.le16(kTable + 10, 3); }) == "header");
  CHECK(with([](Sample& d) { d.bytes[kTable + 32] = 0; }) == "unknown-feature");
  CHECK(with([](Sample& d) { std::memcpy(&d.bytes[kTable + 96], &d.bytes[kTable + 64], 32); }) == "header");
  CHECK(with([](Sample& d) { d.le32(kTable + 64 + 16, 128 * 1024); }) == "outside-file");
  CHECK(with([](Sample& d) { d.le32(kTable + 64 + 16, 0); }) == "outside-file");
  CHECK(with([](Sample& d) { d.le32(kItems + 4, 2); }) == "backing-file");
  CHECK(with([](Sample& d) {
          const std::uint8_t locator[] = {0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45,
                                          0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c};
          std::memcpy(&d.bytes[kTable + 32 + 2 * 32], locator, 16);
        }) == "backing-file");
  CHECK(with([](Sample& d) { d.le32(kItems, kMib / 2); }) == "header");
  CHECK(with([](Sample& d) { d.le32(kItems, 3 * kMib); }) == "header");
  CHECK(with([](Sample& d) { d.le64(kItems + 8, 0); }) == "empty");
  CHECK(with([](Sample& d) { d.le64(kItems + 8, 513); }) == "header");
  CHECK(with([](Sample& d) { d.le64(kItems + 8, std::uint64_t{65} << 40); }) == "header");
  CHECK(with([](Sample& d) { d.le64(kItems + 8, 513 * kMib); }) == "header");
  CHECK(with([](Sample& d) { d.le32(kItems + 32, 4096); }) == "unknown-feature");
  CHECK(with([](Sample& d) { d.le64(kMib, 4 * kMib | 6); }) == "outside-file");
  CHECK(with([](Sample& d) { d.le64(kMib, ~std::uint64_t{0xfffff} | 6); }) == "outside-file");
  CHECK(with([](Sample& d) { d.le64(kMib, 6); }) == "overlap");
  CHECK(with([](Sample& d) { d.le64(kMib, 3 * kMib | 7); }) == "backing-file");
  CHECK(with([](Sample& d) { d.le64(kMib, 3 * kMib | 4); }) == "reserved-bits");
  for (const std::uint64_t empty : {0U, 1U, 2U, 3U, 5U}) {
    CHECK(broken(vhdx(), [=](Sample& d) { d.le64(kMib, std::uint64_t{1} << 50 | empty); }).empty());
  }
}

TEST_CASE("VDI") {
  const auto with = [](Damage damage) { return broken(vdi(), damage); };
  CHECK(with([](Sample& d) { d.le32(0x44, 1); }) == "version");
  CHECK(with([](Sample& d) { d.le32(0x4c, 2); }).empty());
  for (const std::uint32_t type : {0U, 3U, 4U}) {
    CHECK(broken(vdi(), [=](Sample& d) { d.le32(0x4c, type); }) == "backing-file");
  }
  CHECK(with([](Sample& d) { d.bytes[0x1a8] = 1; }) == "backing-file");
  CHECK(with([](Sample& d) { d.bytes[0x1b8 + 15] = 1; }) == "backing-file");
  CHECK(with([](Sample& d) { d.le32(0x168, 4096); }) == "header");
  CHECK(with([](Sample& d) { d.le32(0x178, 1 << 21); }) == "header");
  CHECK(with([](Sample& d) { d.le32(0x17c, 512); }) == "header");
  CHECK(with([](Sample& d) { d.le32(0x180, 2); }) == "header");
  CHECK(with([](Sample& d) { d.le32(0x180, 0x40000000); }) == "header");
  CHECK(with([](Sample& d) { d.le32(0x180, 0x3fffffff); }) == "outside-file");
  CHECK(with([](Sample& d) { d.le64(0x170, 0); }) == "empty");
  CHECK(with([](Sample& d) { d.le64(0x170, ~std::uint64_t{0}); }) == "header");
  CHECK(with([](Sample& d) { d.le32(0x154, 513); }) == "alignment");
  CHECK(with([](Sample& d) { d.le32(0x158, 1000); }) == "alignment");
  CHECK(with([](Sample& d) { d.le32(0x154, 1 << 30); }) == "outside-file");
  CHECK(with([](Sample& d) { d.le32(0x158, 1536); }) == "outside-file");
  CHECK(with([](Sample& d) { d.le32(516, 1); }) == "outside-file");
  CHECK(with([](Sample& d) { d.le32(516, 0xfffffffd); }) == "outside-file");
  CHECK(with([](Sample& d) { d.le32(512, 0); }) == "overlap");
}

TEST_CASE("QED") {
  const auto with = [](Damage damage) { return broken(qed(), damage); };
  CHECK(with([](Sample& d) { d.le32(4, 2048); }) == "header");
  CHECK(with([](Sample& d) { d.le32(4, 5000); }) == "header");
  CHECK(with([](Sample& d) { d.le32(4, 1 << 27); }) == "header");
  CHECK(with([](Sample& d) { d.le32(8, 3); }) == "header");
  CHECK(with([](Sample& d) { d.le32(8, 32); }) == "header");
  CHECK(with([](Sample& d) { d.le32(12, 0); }) == "header");
  CHECK(with([](Sample& d) { d.le32(12, 2); }) == "overlap");
  CHECK(with([](Sample& d) { d.le64(16, 1); }) == "backing-file");
  CHECK(with([](Sample& d) { d.le64(16, 4); }) == "backing-file");
  CHECK(with([](Sample& d) { d.le32(56, 64); }) == "backing-file");
  CHECK(with([](Sample& d) { d.le64(16, 2); }) == "not-closed");
  CHECK(with([](Sample& d) { d.le64(16, 8); }) == "unknown-feature");
  CHECK(with([](Sample& d) { d.le64(40, 4608); }) == "alignment");
  CHECK(with([](Sample& d) { d.le64(40, 1 << 30); }) == "outside-file");
  CHECK(with([](Sample& d) { d.le64(48, 0); }) == "empty");
  CHECK(with([](Sample& d) { d.le64(48, 513); }) == "header");
  CHECK(with([](Sample& d) { d.le64(48, kAnySize); }) == "header");
  CHECK(with([](Sample& d) { d.le64(4096, 8193); }) == "alignment");
  CHECK(with([](Sample& d) { d.le64(4096, 16384); }) == "outside-file");
  CHECK(with([](Sample& d) { d.le64(8200, 12289); }) == "alignment");
  CHECK(with([](Sample& d) { d.le64(8200, 16384); }) == "outside-file");
  CHECK(with([](Sample& d) { d.le64(8200, ~std::uint64_t{4095}); }) == "outside-file");
  // One L2 table in all places of the L1 table.
  CHECK(with([](Sample& d) {
          d.le64(48, std::uint64_t{4096} * 512 * 512);
          for (std::size_t i = 0; i < 512; ++i) d.le64(4096 + i * 8, 8192);
        }) == "overlap");
}

TEST_CASE("qcow version 1") {
  const auto with = [](Damage damage) { return broken(qcow1(), damage); };
  CHECK(with([](Sample& d) { d.be64(8, 100); }) == "backing-file");
  CHECK(with([](Sample& d) { d.be32(36, 1); }) == "encrypted");
  CHECK(with([](Sample& d) { d.bytes[32] = 8; }) == "header");
  CHECK(with([](Sample& d) { d.bytes[32] = 17; }) == "header");
  CHECK(with([](Sample& d) { d.bytes[33] = 5; }) == "header");
  CHECK(with([](Sample& d) { d.bytes[33] = 14; }) == "header");
  CHECK(with([](Sample& d) { d.be64(24, 511); }) == "empty");
  CHECK(with([](Sample& d) { d.be64(24, kAnySize); }) == "outside-file");
  CHECK(with([](Sample& d) { d.be64(40, 40); }) == "overlap");
  CHECK(with([](Sample& d) { d.be64(40, 1 << 30); }) == "outside-file");
  CHECK(with([](Sample& d) { d.be64(48, 16384); }) == "outside-file");
  CHECK(with([](Sample& d) { d.be64(4096, 8193); }) == "alignment");
  CHECK(with([](Sample& d) { d.be64(4096, 16384); }) == "outside-file");
  CHECK(with([](Sample& d) { d.be64(4104, std::uint64_t{1} << 63 | std::uint64_t{100} << 51 | 16300); }) ==
        "outside-file");
  CHECK(with([](Sample& d) {
          for (std::size_t i = 0; i < 8; ++i) d.be64(4096 + i * 8, 8192);
        }) == "overlap");
}

TEST_CASE("ploop") {
  const auto with = [](Damage damage) { return broken(parallels(), damage); };
  CHECK(with([](Sample& d) { d.le32(16, 1); }) == "version");
  CHECK(with([](Sample& d) { d.le32(28, 0); }) == "header");
  CHECK(with([](Sample& d) { d.le32(28, 0x7fffffff); }) == "header");
  CHECK(with([](Sample& d) { d.le32(32, 0x7fffffff); }) == "header");
  CHECK(with([](Sample& d) { d.le32(32, 15); }) == "header");
  CHECK(with([](Sample& d) { d.le32(32, 10000); }) == "outside-file");
  CHECK(with([](Sample& d) { d.le64(36, 0); }) == "empty");
  CHECK(with([](Sample& d) { d.le64(36, ~std::uint64_t{0}); }) == "header");
  CHECK(with([](Sample& d) { d.le32(44, 0x746f6e59); }) == "not-closed");
  CHECK(with([](Sample& d) { d.le64(56, 8); }) == "unknown-feature");
  CHECK(with([](Sample& d) { d.le32(64, 3); }) == "outside-file");
  CHECK(with([](Sample& d) { d.le32(64, 0xffffffff); }) == "outside-file");
  CHECK(with([](Sample& d) { d.le32(68, 2); }) == "overlap");
  CHECK(broken(parallels(false), [](Sample& d) { d.le32(64, 17); }) == "outside-file");
}

TEST_CASE("an inspection that is cancelled stops") {
  Cancellation cancelled;
  cancelled.cancel();
  for (const auto& [name, disk] : kDisks) {
    CHECK_THROWS_AS(inspect_file(in_memory(disk.bytes), disk.format, kAnySize, cancelled), Cancelled);
  }
}
