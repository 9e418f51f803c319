// Makes compressed clusters of qcow2 images: raw deflate or zstd, one cluster a call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "image/decompressor.h"

struct libdeflate_compressor;
struct ZSTD_CCtx_s;

namespace node_compute {

/// Not thread-safe: each thread has its own.
class Compressor {
 public:
  explicit Compressor(Compression compression);

  /// Bytes written to `target`; 0 where they do not fit into it.
  std::size_t run(const std::uint8_t* source, std::size_t source_bytes, std::uint8_t* target,
                  std::size_t target_bytes);

 private:
  struct Free {
    void operator()(libdeflate_compressor* compressor) const noexcept;
    void operator()(ZSTD_CCtx_s* context) const noexcept;
  };
  std::unique_ptr<libdeflate_compressor, Free> deflate_;
  std::unique_ptr<ZSTD_CCtx_s, Free> zstd_;
};

}  // namespace node_compute
