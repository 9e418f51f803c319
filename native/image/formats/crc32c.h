// CRC-32C (Castagnoli) of the headers of an image.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace node_compute {

/// Of the bytes with the four at `checksum_at` taken as zeros, as formats compute it that keep the sum
/// inside.
inline std::uint32_t crc32c_without(const std::uint8_t* bytes, std::size_t length,
                                    std::size_t checksum_at) noexcept {
  static constexpr auto kTable = [] {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      std::uint32_t crc = byte;
      for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82f63b78 : 0);
      table[byte] = crc;
    }
    return table;
  }();
  std::uint32_t crc = 0xffffffff;
  for (std::size_t i = 0; i < length; ++i) {
    const std::uint8_t byte = i - checksum_at < 4 ? 0 : bytes[i];
    crc = crc >> 8 ^ kTable[(crc ^ byte) & 0xff];
  }
  return ~crc;
}

}  // namespace node_compute
