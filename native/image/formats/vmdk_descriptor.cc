#include "image/formats/vmdk_descriptor.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <string>

#include "image/image_error.h"

namespace node_compute {

namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r";
  const std::size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

std::string_view unquoted(std::string_view text) {
  const bool quoted = text.size() >= 2 && text.front() == '"' && text.back() == '"';
  return quoted ? text.substr(1, text.size() - 2) : text;
}

class Descriptor {
 public:
  explicit Descriptor(std::uint64_t capacity) : capacity_(capacity) {}

  void read(std::string_view text) {
    while (!text.empty()) {
      const std::size_t end = std::min(text.find('\n'), text.size());
      read_line(trimmed(text.substr(0, end)));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    require(types_ == 1 && extents_ == 1, "descriptor", "the descriptor must have one type and one extent");
  }

 private:
  void read_line(std::string_view line) {
    if (line.empty() || line.front() == '#') return;
    const std::string access = lower(line.substr(0, line.find_first_of(" \t")));
    if (access == "rw" || access == "rdonly" || access == "noaccess") return read_extent(line);
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos)
      refuse("descriptor", "a line of the descriptor is neither value nor extent");
    read_value(lower(trimmed(line.substr(0, equals))), unquoted(trimmed(line.substr(equals + 1))));
  }

  void read_value(const std::string& key, std::string_view value) {
    if (key == "createtype") {
      ++types_;
      require(value == "monolithicSparse" || value == "streamOptimized", "data-file",
              "the disk is of type " + std::string(value) + ", which keeps its data in other files");
    }
    if (key == "parentcid") {
      require(lower(value) == "ffffffff", "backing-file", "the image is the difference from another one");
    }
  }

  /// RW 16384 SPARSE "name": as many sectors as the header says. The name is that of the file when it was
  /// made; a path is none.
  void read_extent(std::string_view line) {
    ++extents_;
    std::uint64_t sectors = 0;
    const std::string_view rest = trimmed(line.substr(std::min(line.find_first_of(" \t"), line.size())));
    const auto number = std::from_chars(rest.data(), rest.data() + rest.size(), sectors);
    const std::string_view place = trimmed(rest.substr(static_cast<std::size_t>(number.ptr - rest.data())));
    require(place.starts_with("SPARSE "), "data-file", "the extent of the disk is in another file");
    const std::string_view name = trimmed(place.substr(7));
    require(unquoted(name) != name && unquoted(name).find_first_of("/\\\"") == std::string_view::npos,
            "data-file", "the extent of the disk is in another file");
    require(number.ec == std::errc() && sectors == capacity_, "descriptor",
            "the extent has another size than the disk");
  }

  const std::uint64_t capacity_;
  int types_ = 0;
  int extents_ = 0;
};

}  // namespace

void check_vmdk_descriptor(std::string_view area, std::uint64_t capacity_sectors) {
  // QEMU looks for these letters anywhere, not for a line.
  require(lower(area).find("parentfilenamehint") == std::string::npos, "backing-file",
          "the image names a parent");
  const std::string_view text = area.substr(0, area.find('\0'));
  require(text.starts_with("# Disk DescriptorFile"), "descriptor", "the image has no descriptor");
  Descriptor(capacity_sectors).read(text);
}

}  // namespace node_compute
