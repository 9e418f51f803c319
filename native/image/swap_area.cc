#include "image/swap_area.h"

#include <sys/random.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string_view>
#include <vector>

#include "executor/failure.h"
#include "image/image_io.h"

namespace node_compute {

namespace {

constexpr std::uint64_t kFewestPages = 10;
constexpr std::uint64_t kMostPages = std::uint64_t{1} << 32;
constexpr std::string_view kSignature = "SWAPSPACE2";

/// In the byte order of the machine, and behind the 1024 bytes that a boot loader may have.
struct SwapHeader {
  std::uint32_t version;
  std::uint32_t last_page;
  std::uint32_t bad_pages;
  std::array<std::uint8_t, 16> uuid;
};
constexpr std::size_t kHeaderOffset = 1024;

std::array<std::uint8_t, 16> random_uuid(const std::string& path) {
  std::array<std::uint8_t, 16> uuid{};
  if (::getrandom(uuid.data(), uuid.size(), 0) != static_cast<ssize_t>(uuid.size())) {
    throw SystemError(errno, "get random bytes for", path);
  }
  uuid[6] = static_cast<std::uint8_t>((uuid[6] & 0x0f) | 0x40);
  uuid[8] = static_cast<std::uint8_t>((uuid[8] & 0x3f) | 0x80);
  return uuid;
}

}  // namespace

void create_swap_area(const std::string& path, std::uint64_t bytes) {
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::uint64_t pages = bytes / page;
  if (pages < kFewestPages || pages > kMostPages) {
    throw InvalidArgument("a swap area has from 10 to 2^32 pages of " + std::to_string(page) +
                          " bytes, not " + std::to_string(pages));
  }
  const SwapHeader header{1, static_cast<std::uint32_t>(pages - 1), 0, random_uuid(path)};
  std::vector<std::uint8_t> first(page);
  std::memcpy(first.data() + kHeaderOffset, &header, sizeof header);
  std::memcpy(first.data() + page - kSignature.size(), kSignature.data(), kSignature.size());
  NewFile file(path);
  write_at(file.get(), first.data(), first.size(), 0, path);
  truncate_to(file.get(), bytes, path);
  file.keep();
}

}  // namespace node_compute
