#include "image/compressor.h"

#include <libdeflate.h>
#include <zstd.h>

#include <new>

namespace node_compute {

namespace {

/// The fastest levels whose output is no larger than QEMU's own (benchmarks/scenarios/flatten-*.mjs). QEMU
/// reads matches of the full 32 KiB window: it inflates each cluster in one call.
constexpr int kDeflateLevel = 1;
constexpr int kZstdLevel = 2;

}  // namespace

void Compressor::Free::operator()(libdeflate_compressor* compressor) const noexcept {
  libdeflate_free_compressor(compressor);
}

void Compressor::Free::operator()(ZSTD_CCtx_s* context) const noexcept { ZSTD_freeCCtx(context); }

Compressor::Compressor(Compression compression) {
  if (compression == Compression::zstd) {
    zstd_.reset(ZSTD_createCCtx());
    if (!zstd_) throw std::bad_alloc();
    ZSTD_CCtx_setParameter(zstd_.get(), ZSTD_c_compressionLevel, kZstdLevel);
  } else {
    deflate_.reset(libdeflate_alloc_compressor(kDeflateLevel));
    if (!deflate_) throw std::bad_alloc();
  }
}

std::size_t Compressor::run(const std::uint8_t* source, std::size_t source_bytes, std::uint8_t* target,
                            std::size_t target_bytes) {
  if (deflate_)
    return libdeflate_deflate_compress(deflate_.get(), source, source_bytes, target, target_bytes);
  const std::size_t bytes = ZSTD_compress2(zstd_.get(), target, target_bytes, source, source_bytes);
  return ZSTD_isError(bytes) ? 0 : bytes;
}

}  // namespace node_compute
