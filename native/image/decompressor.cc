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

/// One frame: the stream interface, since the padding behind it is no frame.
void decompress_zstd(ZSTD_DCtx* context, const std::uint8_t* source, std::size_t source_bytes,
                     std::uint8_t* target, std::size_t target_bytes) {
  ZSTD_DCtx_reset(context, ZSTD_reset_session_only);
  ZSTD_inBuffer in{source, source_bytes, 0};
  ZSTD_outBuffer out{target, target_bytes, 0};
  for (;;) {
    const std::size_t read = in.pos;
    const std::size_t written = out.pos;
    const std::size_t left = ZSTD_decompressStream(context, &out, &in);
    if (ZSTD_isError(left)) refuse("a compressed cluster is damaged");
    if (left == 0) break;
    if (in.pos == read && out.pos == written) refuse("a compressed cluster is cut off or too long");
  }
  if (out.pos != target_bytes) refuse("a compressed cluster is too short");
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
