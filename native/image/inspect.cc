#include "image/inspect.h"

#include "executor/failure.h"
#include "image/format.h"
#include "image/image_error.h"
#include "image/qcow2_validator.h"

namespace node_compute {

ImageVerdict inspect_image(const std::string& path, const std::string& declared_format,
                           std::uint64_t max_virtual_bytes, const Cancellation& cancel) {
  return inspect_file(SourceFile(path), declared_format, max_virtual_bytes, cancel);
}

ImageVerdict inspect_file(const SourceFile& file, const std::string& declared_format,
                          std::uint64_t max_virtual_bytes, const Cancellation& cancel) {
  if (cancel.cancelled()) throw Cancelled();
  if (declared_format != "raw" && declared_format != "qcow2" && declared_format != "iso") {
    throw ImageError("unsupported-format", "images of the format " + declared_format + " are not supported");
  }
  const std::string content = detect_format(file);
  if (content != declared_format) {
    throw ImageError("format-mismatch",
                     "the image is declared as " + declared_format + " and its content is " + content);
  }
  ImageVerdict verdict;
  verdict.format = content;
  verdict.file_size = file.size();
  if (content == "qcow2") {
    const Qcow2Facts facts = validate_qcow2(file, {max_virtual_bytes}, cancel);
    verdict.virtual_size = facts.header.virtual_size;
    verdict.data_bytes = facts.data_bytes;
    verdict.libqcow = identify_with_libqcow(file, facts.header);
    verdict.qcow2 = facts.header;
    return verdict;
  }
  verdict.virtual_size = file.size();
  verdict.data_bytes = file.allocated();
  if (verdict.virtual_size > max_virtual_bytes) {
    throw ImageError("too-large", "the image has " + std::to_string(file.size()) + " bytes, at most " +
                                      std::to_string(max_virtual_bytes) + " are accepted");
  }
  return verdict;
}

}  // namespace node_compute
