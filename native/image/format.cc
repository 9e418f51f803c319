#include "image/format.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

#include "image/byte_order.h"
#include "image/image_error.h"

namespace node_compute {

namespace {

using std::string_view_literals::operator""sv;

constexpr std::size_t kHeadBytes = 64 * 1024;
constexpr std::size_t kTailBytes = 512;

struct Signature {
  const char* format;
  std::size_t offset;
  std::string_view bytes;
};

/// Fixed bytes at a fixed place. qcow and vmdk text need a closer look, see below.
constexpr std::array kHeadSignatures{
    Signature{"qed", 0, "QED\0"sv},
    Signature{"vmdk", 0, "KDMV"sv},
    Signature{"vmdk", 0, "COWD"sv},
    Signature{"vhd", 0, "conectix"sv},
    Signature{"vhdx", 0, "vhdxfile"sv},
    Signature{"vdi", 0x40, "\x7f\x10\xda\xbe"sv},
    Signature{"luks", 0, "LUKS\xba\xbe"sv},
    Signature{"ploop", 0, "WithoutFreeSpace"sv},
    Signature{"ploop", 0, "WithouFreSpacExt"sv},
    Signature{"bochs", 0, "Bochs Virtual HD Image"sv},
    Signature{"cloop", 0, "#!/bin/sh\n#V2.0 Format\n"sv},
    Signature{"iso", 0x8001, "CD001"sv},
    Signature{"iso", 0x8801, "CD001"sv},
    Signature{"iso", 0x8001, "BEA01"sv},
    Signature{"iso", 0x8001, "NSR02"sv},
    Signature{"iso", 0x8001, "NSR03"sv},
};

/// At this distance from the end: footers of fixed VHD (511 bytes long as old tools wrote it) and of DMG.
constexpr std::array kTailSignatures{
    Signature{"vhd", 512, "conectix"sv},
    Signature{"vhd", 511, "conectix"sv},
    Signature{"dmg", 512, "koly"sv},
};

std::string_view as_text(const std::vector<std::uint8_t>& bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool has(std::string_view text, std::size_t offset, std::string_view bytes) noexcept {
  return offset <= text.size() && text.substr(offset).starts_with(bytes);
}

/// qcow2 for every version but 1, so that an unknown version is refused as such and not taken for raw.
const char* match_qcow(const std::vector<std::uint8_t>& head) noexcept {
  if (!has(as_text(head), 0, "QFI\xfb"sv)) return nullptr;
  if (head.size() >= 8 && load_be<std::uint32_t>(head.data() + 4) == 1) return "qcow";
  return "qcow2";
}

/// A VMDK may be nothing but text that names extents: files anywhere on the host. QEMU takes as one whatever
/// has `version=` as its first line after comments, so that must be recognised too.
bool is_vmdk_descriptor(std::string_view text) noexcept {
  if (text.starts_with("# Disk DescriptorFile"sv)) return true;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return false;
    const std::string_view line = text.substr(0, end);
    const bool blank = std::all_of(line.begin(), line.end(), [](char c) { return c == ' ' || c == '\r'; });
    if (!blank && !line.starts_with('#')) return line.starts_with("version="sv);
    text.remove_prefix(end + 1);
  }
  return false;
}

bool is_partitioned(std::string_view head) noexcept {
  return has(head, 510, "\x55\xaa"sv) || has(head, 512, "EFI PART"sv) || has(head, 4096, "EFI PART"sv);
}

}  // namespace

FormatMatches match_formats(const SourceFile& file) {
  const auto head = file.read_some(0, kHeadBytes);
  const std::size_t tail_bytes = std::min<std::uint64_t>(kTailBytes, file.size());
  const auto tail = file.read_some(file.size() - tail_bytes, tail_bytes);

  FormatMatches matches;
  const auto add = [&matches](const char* format) {
    const auto& known = matches.formats;
    if (std::find(known.begin(), known.end(), format) == known.end()) matches.formats.emplace_back(format);
  };
  if (const char* qcow = match_qcow(head)) add(qcow);
  for (const Signature& signature : kHeadSignatures) {
    if (has(as_text(head), signature.offset, signature.bytes)) add(signature.format);
  }
  if (is_vmdk_descriptor(as_text(head))) add("vmdk");
  const bool head_matches = !matches.formats.empty();
  for (const Signature& signature : kTailSignatures) {
    if (tail.size() >= signature.offset &&
        has(as_text(tail), tail.size() - signature.offset, signature.bytes)) {
      add(signature.format);
    }
  }
  matches.footer_only = !head_matches && !matches.formats.empty();
  matches.partitioned = is_partitioned(as_text(head));
  return matches;
}

std::string detect_format(const SourceFile& file) {
  if (file.size() == 0) throw ImageError("empty", "the file is empty");
  const FormatMatches matches = match_formats(file);
  std::string all;
  for (const std::string& format : matches.formats) all += (all.empty() ? "" : ", ") + format;
  if (matches.formats.size() > 1) {
    throw ImageError("ambiguous-format", "the content has the signatures of several formats: " + all);
  }
  if (matches.formats.empty()) return "raw";
  // Boot sectors stand before an ISO's own descriptors by design (isohybrid), and a fixed VHD is a disk with
  // a footer; before anything else they disguise.
  if (matches.partitioned && all != "iso" && !matches.footer_only) {
    throw ImageError("ambiguous-format", "the content has the signature of " + all + " and a boot sector");
  }
  return all;
}

}  // namespace node_compute
