// What a file is, by all signatures at once; what it is declared to be must be just that.
#include <string>
#include <vector>

#include "image/format.h"
#include "image_fixture.h"

using namespace node_compute;
using namespace node_compute::test;

namespace {

constexpr std::size_t kSize = 1 << 20;

struct Mark {
  std::string format;
  std::size_t offset;
  std::string bytes;
};

const std::string kNul(1, '\0');

const std::vector<Mark> kMarks = {
    {"qcow", 0, "QFI\xfb" + std::string("\0\0\0\1", 4)},
    {"qcow2", 0, "QFI\xfb" + std::string("\0\0\0\2", 4)},
    {"qcow2", 0, "QFI\xfb" + std::string("\0\0\0\3", 4)},
    {"qcow2", 0, "QFI\xfb" + std::string("\0\0\0\x63", 4)},
    {"qed", 0, "QED" + kNul},
    {"vmdk", 0, "KDMV"},
    {"vmdk", 0, "COWD"},
    {"vmdk", 0, "# Disk DescriptorFile\n"},
    {"vmdk", 0, "# a comment\n\n  \r\n# more\nversion=1\nRW 2048 FLAT \"/etc/passwd\" 0\n"},
    {"vmdk", 0, "version=3\r\n"},
    {"vhd", 0, "conectix"},
    {"vhd", kSize - 512, "conectix"},
    {"vhd", kSize - 511, "conectix"},
    {"vhdx", 0, "vhdxfile"},
    {"vdi", 0x40, "\x7f\x10\xda\xbe"},
    {"luks", 0, "LUKS\xba\xbe"},
    {"ploop", 0, "WithoutFreeSpace"},
    {"ploop", 0, "WithouFreSpacExt"},
    {"bochs", 0, "Bochs Virtual HD Image"},
    {"cloop", 0, "#!/bin/sh\n#V2.0 Format\n"},
    {"dmg", kSize - 512, "koly"},
    {"iso", 0x8001, "CD001"},
    {"iso", 0x8801, "CD001"},
    {"iso", 0x8001, "BEA01"},
    {"iso", 0x8001, "NSR02"},
    {"iso", 0x8001, "NSR03"},
};

Bytes with(const std::vector<Mark>& marks) {
  Bytes bytes(kSize, 0);
  for (const Mark& mark : marks)
    std::memcpy(bytes.data() + mark.offset, mark.bytes.data(), mark.bytes.size());
  return bytes;
}

const Mark kBootSector{"", 510, "\x55\xaa"};

}  // namespace

TEST_CASE("each signature is recognised, and never accepted as raw") {
  for (const Mark& mark : kMarks) {
    CAPTURE(mark.format);
    CAPTURE(mark.offset);
    CHECK(detect_format(in_memory(with({mark}))) == mark.format);
    CHECK(rule_of(with({mark}), "raw") == "format-mismatch");
  }
}

TEST_CASE("two signatures are refused, whatever is declared") {
  for (const Mark& first : kMarks) {
    for (const Mark& second : kMarks) {
      const bool overlap = first.offset < second.offset + second.bytes.size() &&
                           second.offset < first.offset + first.bytes.size();
      if (first.format == second.format || overlap) continue;
      CAPTURE(first.format);
      CAPTURE(second.format);
      for (const char* declared : {"raw", "qcow2", "iso"}) {
        CHECK(rule_of(with({first, second}), declared) == "ambiguous-format");
      }
    }
  }
}

TEST_CASE("raw disks are accepted with boot sectors, partition tables, text and noise") {
  CHECK(rule_of(with({kBootSector}), "raw").empty());
  CHECK(rule_of(with({kBootSector, {"", 512, "EFI PART"}}), "raw").empty());
  CHECK(rule_of(with({{"", 4096, "EFI PART"}}), "raw").empty());
  CHECK(rule_of(with({{"", 0, "# only a comment\n\nRW 1\nversion=1\n"}}), "raw").empty());
  CHECK(rule_of(with({{"", 0, "QFI"}}), "raw").empty());
  CHECK(rule_of(Bytes{1}, "raw").empty());
}

TEST_CASE("the verdict of a raw disk is its length") {
  const ImageVerdict verdict = inspect(Bytes(1000, 7), "raw");
  CHECK(verdict.format == "raw");
  CHECK(verdict.virtual_size == 1000);
  CHECK(verdict.file_size == 1000);
  CHECK(verdict.data_bytes == 1000);
  CHECK(rule_of(Bytes(1000, 7), "raw", 1000).empty());
  CHECK(rule_of(Bytes(1000, 7), "raw", 999) == "too-large");
}

TEST_CASE("an ISO may be a hybrid, and nothing else may begin with a boot sector") {
  const Mark iso{"iso", 0x8001, "CD001"};
  CHECK(rule_of(with({iso}), "iso").empty());
  CHECK(rule_of(with({iso, kBootSector, {"", 512, "EFI PART"}}), "iso").empty());
  CHECK(rule_of(with({{"", 0, "QFI\xfb" + std::string("\0\0\0\3", 4)}, kBootSector}), "qcow2") ==
        "ambiguous-format");
  CHECK(rule_of(with({kBootSector}), "iso") == "format-mismatch");
}

TEST_CASE("an empty file is no image") {
  for (const char* declared : {"raw", "qcow2", "iso"}) CHECK(rule_of({}, declared) == "empty");
}

TEST_CASE("formats that are not supported are refused by name") {
  for (const char* declared : {"bochs", "cloop", "dmg", "ami", "", "RAW"}) {
    CHECK(rule_of(Bytes(512, 1), declared) == "unsupported-format");
  }
}
