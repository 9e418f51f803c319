// Compressed clusters of qcow2 images: raw deflate or zstd, one cluster a call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

struct libdeflate_decompressor;
struct ZSTD_DCtx_s;

namespace node_compute {

enum class Compression : std::uint8_t { deflate = 0, zstd = 1 };

/// Not thread-safe: each thread has its own.
class Decompressor {
 public:
  explicit Decompressor(Compression compression);

  /// Fills `target` whole; what follows the stream in `source` is padding. ImageError `compressed-cluster`
  /// where the stream is damaged, or holds fewer or more bytes than that.
  void run(const std::uint8_t* source, std::size_t source_bytes, std::uint8_t* target,
           std::size_t target_bytes);

 private:
  struct Free {
    void operator()(libdeflate_decompressor* decompressor) const noexcept;
    void operator()(ZSTD_DCtx_s* context) const noexcept;
  };
  std::unique_ptr<libdeflate_decompressor, Free> deflate_;
  std::unique_ptr<ZSTD_DCtx_s, Free> zstd_;
};

}  // namespace node_compute
