#include "image/decompressor.h"

#include <libdeflate.h>
#include <zstd.h>

#include <new>

#include "image/image_error.h"

namespace node_compute {

namespace {

[[noreturn]] void refuse(const char* message) { throw ImageError("compressed-cluster", message); }

void inflate(libdeflate_decompressor* decompressor, const std::uint8_t* source, std::size_t source_bytes,
             std::uint8_t* target, std::size_t target_bytes) {
  std::size_t read = 0;
  std::size_t written = 0;
  const auto result = libdeflate_deflate_decompress_ex(decompressor, source, source_bytes, target,
                                                       target_bytes, &read, &written);
  if (result != LIBDEFLATE_SUCCESS || written != target_bytes) refuse("a compressed cluster is damaged");
}

/// One frame; what follows it is padding. Not by the stream interface, which copies each cluster once more.
void decompress_zstd(ZSTD_DCtx* context, const std::uint8_t* source, std::size_t source_bytes,
                     std::uint8_t* target, std::size_t target_bytes) {
  const std::size_t frame = ZSTD_findFrameCompressedSize(source, source_bytes);
  if (ZSTD_isError(frame)) refuse("a compressed cluster is damaged");
  if (ZSTD_decompressDCtx(context, target, target_bytes, source, frame) != target_bytes) {
    refuse("a compressed cluster is damaged, too long or too short");
  }
}

}  // namespace

void Decompressor::Free::operator()(libdeflate_decompressor* decompressor) const noexcept {
  libdeflate_free_decompressor(decompressor);
}

void Decompressor::Free::operator()(ZSTD_DCtx_s* context) const noexcept { ZSTD_freeDCtx(context); }

Decompressor::Decompressor(Compression compression) {
  if (compression == Compression::zstd) {
    zstd_.reset(ZSTD_createDCtx());
    if (!zstd_) throw std::bad_alloc();
  } else {
    deflate_.reset(libdeflate_alloc_decompressor());
    if (!deflate_) throw std::bad_alloc();
  }
}

void Decompressor::run(const std::uint8_t* source, std::size_t source_bytes, std::uint8_t* target,
                       std::size_t target_bytes) {
  if (zstd_) {
    decompress_zstd(zstd_.get(), source, source_bytes, target, target_bytes);
  } else {
    inflate(deflate_.get(), source, source_bytes, target, target_bytes);
  }
}

}  // namespace node_compute
