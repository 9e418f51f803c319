// Numbers as image formats store them, read from and written to unaligned memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace node_compute {

template <class Number>
Number load_be(const std::uint8_t* from) noexcept {
  static_assert(std::is_unsigned_v<Number>);
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(Number); ++i) value = value << 8 | from[i];
  return static_cast<Number>(value);
}

template <class Number>
Number load_le(const std::uint8_t* from) noexcept {
  static_assert(std::is_unsigned_v<Number>);
  std::uint64_t value = 0;
  for (std::size_t i = sizeof(Number); i > 0; --i) value = value << 8 | from[i - 1];
  return static_cast<Number>(value);
}

template <class Number>
void store_be(std::uint8_t* to, Number number) noexcept {
  static_assert(std::is_unsigned_v<Number>);
  for (std::size_t i = 0; i < sizeof(Number); ++i) {
    to[i] = static_cast<std::uint8_t>(static_cast<std::uint64_t>(number) >> (8 * (sizeof(Number) - 1 - i)));
  }
}

/// Without overflow; `divisor` > 0.
constexpr std::uint64_t divide_up(std::uint64_t number, std::uint64_t divisor) noexcept {
  return number / divisor + (number % divisor != 0 ? 1 : 0);
}

}  // namespace node_compute
