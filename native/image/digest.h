// Message digests of images, computed while their bytes pass by.
#pragma once

#include <nettle/md5.h>
#include <nettle/sha2.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>

namespace node_compute {

class Digest {
 public:
  /// `md5`, `sha256`, `sha512`, or "" for none; InvalidArgument otherwise.
  explicit Digest(const std::string& algorithm);

  bool wanted() const noexcept { return !std::holds_alternative<std::monostate>(state_); }
  void update(const std::uint8_t* data, std::size_t bytes) noexcept;
  void update_zeros(std::uint64_t bytes) noexcept;
  /// Lower-case hexadecimal, "" for none; call once, at the end.
  std::string finish();

 private:
  std::variant<std::monostate, md5_ctx, sha256_ctx, sha512_ctx> state_;
};

}  // namespace node_compute
