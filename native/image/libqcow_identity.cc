#include "image/libqcow_identity.h"

#include <libqcow.h>

#include <memory>
#include <string>

#include "executor/failure.h"
#include "image/image_error.h"

namespace node_compute {

namespace {

/// It holds the L1 table twice; more would be too much memory.
constexpr std::uint64_t kMaxL1Bytes = 16U << 20;

/// Passed where libqcow takes an error; freed whatever happens.
class Error {
 public:
  ~Error() { clear(); }
  libqcow_error_t** out() noexcept {
    clear();
    return &error_;
  }
  std::string text() const {
    char message[512];
    const int length = error_ != nullptr ? libqcow_error_sprint(error_, message, sizeof message) : -1;
    return length > 0 ? message : "unknown error";
  }

 private:
  void clear() noexcept {
    if (error_ != nullptr) libqcow_error_free(&error_);
    error_ = nullptr;
  }
  libqcow_error_t* error_ = nullptr;
};

struct FreeFile {
  void operator()(libqcow_file_t* file) const noexcept { libqcow_file_free(&file, nullptr); }
};

/// "" where the image names no backing file.
std::string backing_name(libqcow_file_t* file, Error& error) {
  std::size_t bytes = 0;
  if (libqcow_file_get_utf8_backing_filename_size(file, &bytes, error.out()) != 1 || bytes == 0) return {};
  std::string name(bytes, '\0');
  if (libqcow_file_get_utf8_backing_filename(file, reinterpret_cast<std::uint8_t*>(name.data()), bytes,
                                             error.out()) != 1) {
    throw ImageError("parsers-disagree", "libqcow cannot tell the name of the backing file: " + error.text());
  }
  // With the terminator.
  return name.c_str();
}

void agree(bool condition, const std::string& message) {
  if (!condition) throw ImageError("parsers-disagree", message);
}

}  // namespace

const char* libqcow_version() noexcept { return libqcow_get_version(); }

std::optional<LibqcowIdentity> identify_with_libqcow(const SourceFile& source, const Qcow2Header& header) {
  if (header.compression_type != 0 || header.extended_l2()) return std::nullopt;
  if (std::uint64_t{header.l1_entries} * 8 > kMaxL1Bytes) return std::nullopt;
  Error error;
  libqcow_file_t* raw = nullptr;
  if (libqcow_file_initialize(&raw, error.out()) != 1) throw std::bad_alloc();
  const std::unique_ptr<libqcow_file_t, FreeFile> file(raw);
  // By the descriptor that was validated, so that no other file can have taken its name.
  const std::string path = "/proc/self/fd/" + std::to_string(source.descriptor());
  if (libqcow_file_open(raw, path.c_str(), LIBQCOW_OPEN_READ, error.out()) != 1) return std::nullopt;

  LibqcowIdentity identity;
  std::uint32_t encryption = 0;
  std::uint64_t size = 0;
  if (libqcow_file_get_format_version(raw, &identity.version, error.out()) != 1 ||
      libqcow_file_get_media_size(raw, &size, error.out()) != 1 ||
      libqcow_file_get_encryption_method(raw, &encryption, error.out()) != 1 ||
      libqcow_file_get_number_of_snapshots(raw, &identity.snapshots, error.out()) != 1) {
    throw ImageError("parsers-disagree", "libqcow opens the image but cannot describe it: " + error.text());
  }
  identity.virtual_size = size;
  agree(identity.version == header.version, "libqcow reads version " + std::to_string(identity.version) +
                                                ", we " + std::to_string(header.version));
  agree(identity.virtual_size == header.virtual_size,
        "libqcow reads " + std::to_string(identity.virtual_size) + " bytes, we " +
            std::to_string(header.virtual_size));
  agree(encryption == header.encryption_method, "libqcow reads another encryption method");
  agree(backing_name(raw, error) == header.backing_name.value_or(""), "libqcow reads another backing file");
  agree(identity.snapshots >= 0 && static_cast<std::uint32_t>(identity.snapshots) == header.snapshots,
        "libqcow reads " + std::to_string(identity.snapshots) + " snapshots, we " +
            std::to_string(header.snapshots));
  return identity;
}

}  // namespace node_compute
