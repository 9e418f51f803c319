// Which disk image formats a file's bytes claim to be: all signatures are looked at, never just the first
// hit.
#pragma once

#include <string>
#include <vector>

#include "image/source_file.h"

namespace node_compute {

struct FormatMatches {
  /// Names as Glance gives them (`qcow2`, `vmdk`, `vhd` ...), in the order of the table; empty for raw
  /// content.
  std::vector<std::string> formats;
  /// A boot sector or GUID partition table: content of a raw disk (or of a hybrid ISO).
  bool partitioned = false;
  /// The only signature stands behind the disk's own bytes, which begin the file: a fixed VHD.
  bool footer_only = false;
};

FormatMatches match_formats(const SourceFile& file);

/// The one format of the content: `raw` where no signature matches. ImageError `ambiguous-format` where
/// several do, `empty` where there is nothing.
std::string detect_format(const SourceFile& file);

}  // namespace node_compute
