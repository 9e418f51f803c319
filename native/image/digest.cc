#include "image/digest.h"

#include <algorithm>
#include <array>

#include "executor/failure.h"

namespace node_compute {

namespace {

std::string to_hexadecimal(const std::uint8_t* bytes, std::size_t count) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(count * 2);
  for (std::size_t i = 0; i < count; ++i) {
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 15];
  }
  return text;
}

}  // namespace

Digest::Digest(const std::string& algorithm) {
  if (algorithm == "md5") {
    md5_init(&state_.emplace<md5_ctx>());
  } else if (algorithm == "sha256") {
    sha256_init(&state_.emplace<sha256_ctx>());
  } else if (algorithm == "sha512") {
    sha512_init(&state_.emplace<sha512_ctx>());
  } else if (!algorithm.empty()) {
    throw InvalidArgument("digests are md5, sha256 and sha512, not " + algorithm);
  }
}

void Digest::update(const std::uint8_t* data, std::size_t bytes) noexcept {
  if (auto* md5 = std::get_if<md5_ctx>(&state_)) md5_update(md5, bytes, data);
  if (auto* sha256 = std::get_if<sha256_ctx>(&state_)) sha256_update(sha256, bytes, data);
  if (auto* sha512 = std::get_if<sha512_ctx>(&state_)) sha512_update(sha512, bytes, data);
}

void Digest::update_zeros(std::uint64_t bytes) noexcept {
  static constexpr std::array<std::uint8_t, 64 * 1024> kZeros{};
  while (wanted() && bytes > 0) {
    const std::size_t length = static_cast<std::size_t>(std::min<std::uint64_t>(bytes, kZeros.size()));
    update(kZeros.data(), length);
    bytes -= length;
  }
}

std::string Digest::finish() {
  std::array<std::uint8_t, SHA512_DIGEST_SIZE> value{};
  if (auto* md5 = std::get_if<md5_ctx>(&state_)) {
    md5_digest(md5, MD5_DIGEST_SIZE, value.data());
    return to_hexadecimal(value.data(), MD5_DIGEST_SIZE);
  }
  if (auto* sha256 = std::get_if<sha256_ctx>(&state_)) {
    sha256_digest(sha256, SHA256_DIGEST_SIZE, value.data());
    return to_hexadecimal(value.data(), SHA256_DIGEST_SIZE);
  }
  if (auto* sha512 = std::get_if<sha512_ctx>(&state_)) {
    sha512_digest(sha512, SHA512_DIGEST_SIZE, value.data());
    return to_hexadecimal(value.data(), SHA512_DIGEST_SIZE);
  }
  return "";
}

}  // namespace node_compute
