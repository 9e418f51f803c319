#include "image/inspect.h"

#include "executor/failure.h"
#include "image/format.h"
#include "image/formats/disk_formats.h"
#include "image/image_error.h"
#include "image/qcow2_validator.h"
#include "image/virtual_size.h"

namespace node_compute {

namespace {

DiskFacts inspect_bytes(const SourceFile& file, std::uint64_t max_virtual_bytes, const Cancellation&) {
  check_virtual_size(file.size(), max_virtual_bytes);
  return {file.size(), file.allocated()};
}

/// Beside qcow2, of which more is told than of these.
struct Format {
  const char* name;
  DiskInspector* inspect;
};
constexpr Format kFormats[] = {
    {"raw", inspect_bytes}, {"iso", inspect_bytes},       {"vmdk", inspect_vmdk}, {"vhd", inspect_vhd},
    {"vhdx", inspect_vhdx}, {"vdi", inspect_vdi},         {"qed", inspect_qed},   {"qcow", inspect_qcow1},
    {"luks", inspect_luks}, {"ploop", inspect_parallels},
};

DiskInspector* inspector_of(const std::string& format) {
  for (const auto& [name, inspect] : kFormats) {
    if (format == name) return inspect;
  }
  refuse("unsupported-format", "images of the format " + format + " are not supported");
}

}  // namespace

ImageVerdict inspect_image(const std::string& path, const std::string& declared_format,
                           std::uint64_t max_virtual_bytes, const Cancellation& cancel,
                           Encryption encryption) {
  return inspect_file(SourceFile(path), declared_format, max_virtual_bytes, cancel, encryption);
}

ImageVerdict inspect_file(const SourceFile& file, const std::string& declared_format,
                          std::uint64_t max_virtual_bytes, const Cancellation& cancel,
                          Encryption encryption) {
  if (cancel.cancelled()) throw Cancelled();
  DiskInspector* const inspect = declared_format == "qcow2" ? nullptr : inspector_of(declared_format);
  const std::string content = detect_format(file);
  require(content == declared_format, "format-mismatch",
          "the image is declared as " + declared_format + " and its content is " + content);
  ImageVerdict verdict;
  verdict.format = content;
  verdict.file_size = file.size();
  const bool luks = encryption == Encryption::luks;
  if (inspect != nullptr) {
    require(luks || content != "luks", "encrypted", "the image is encrypted");
    require(!luks || content == "luks", "not-encrypted",
            "the image is not encrypted, and a secret was given");
    const DiskFacts facts = inspect(file, max_virtual_bytes, cancel);
    verdict.virtual_size = facts.virtual_size;
    verdict.data_bytes = facts.data_bytes;
    return verdict;
  }
  const Qcow2Facts facts = validate_qcow2(file, {max_virtual_bytes, false, luks}, cancel);
  verdict.virtual_size = facts.header.virtual_size;
  verdict.data_bytes = facts.data_bytes;
  verdict.libqcow = identify_with_libqcow(file, facts.header);
  verdict.qcow2 = facts.header;
  return verdict;
}

}  // namespace node_compute
