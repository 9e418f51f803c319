#include "image/luks_header.h"

#include <cstring>
#include <string>
#include <vector>

#include "image/byte_order.h"
#include "image/image_error.h"

namespace node_compute {

namespace {

constexpr std::size_t kHeaderBytes = 592;
constexpr std::size_t kTextBytes = 32;
constexpr std::size_t kSlotsOffset = 208;
constexpr std::size_t kSlotBytes = 48;
constexpr std::size_t kSlots = 8;
constexpr std::uint32_t kSlotActive = 0x00ac71f3;
constexpr std::uint32_t kSlotDisabled = 0x0000dead;
constexpr std::uint32_t kStripes = 4000;
/// QEMU keeps the first 4 KiB for the header itself.
constexpr std::uint64_t kFirstKeySector = 8;
/// Two keys of 256 bits are the most that any cipher takes.
constexpr std::uint64_t kMaxKeyBytes = 64;

bool is_terminated(const std::uint8_t* text) noexcept { return std::memchr(text, 0, kTextBytes) != nullptr; }

}  // namespace

std::uint64_t check_luks_header(const SourceFile& file, std::uint64_t offset, std::uint64_t bytes) {
  require(bytes >= kHeaderBytes, "header", "the LUKS header is too short");
  std::vector<std::uint8_t> raw(kHeaderBytes);
  file.read(offset, raw.data(), raw.size());
  const auto word = [&raw](std::size_t at) { return load_be<std::uint32_t>(raw.data() + at); };
  require(std::memcmp(raw.data(), "LUKS\xba\xbe", 6) == 0, "header", "there is no LUKS header");
  const auto version = load_be<std::uint16_t>(raw.data() + 6);
  require(version == 1, "version",
          "LUKS version " + std::to_string(version) + " is not supported, only 1, as by QEMU");
  require(is_terminated(raw.data() + 8) && is_terminated(raw.data() + 40) && is_terminated(raw.data() + 72),
          "header", "a name in the LUKS header does not end");
  const std::uint64_t payload = word(104);
  const std::uint64_t key_bytes = word(108);
  require(payload >= kFirstKeySector && key_bytes > 0 && key_bytes <= kMaxKeyBytes && word(164) > 0, "header",
          "the LUKS header has impossible properties");
  require(payload <= bytes / 512, "outside-file", "the LUKS header is not inside its image");
  bool opens = false;
  for (std::size_t slot = 0; slot < kSlots; ++slot) {
    const std::size_t at = kSlotsOffset + slot * kSlotBytes;
    const std::uint32_t state = word(at);
    const std::uint64_t first = word(at + 40);
    require((state == kSlotActive && word(at + 4) > 0) || state == kSlotDisabled, "header",
            "a LUKS key slot is damaged");
    require(word(at + 44) == kStripes && first >= kFirstKeySector &&
                first + divide_up(key_bytes * kStripes, 512) <= payload,
            "header", "the key of a LUKS key slot is not inside the header");
    opens = opens || state == kSlotActive;
  }
  require(opens, "header", "no LUKS key slot is in use");
  return payload * 512;
}

}  // namespace node_compute
