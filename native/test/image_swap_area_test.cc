// Swap areas, held against the layout that Linux documents.
#include <sys/stat.h>

#include <string>

#include "executor/failure.h"
#include "image/swap_area.h"
#include "image_fixture.h"

using namespace node_compute;
using namespace node_compute::test;

namespace {

std::uint32_t word(const Bytes& bytes, std::size_t at) {
  std::uint32_t value = 0;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

}  // namespace

TEST_CASE("a swap area has the header of version 1, a UUID of its own, and nothing else") {
  const ScratchDirectory scratch;
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  constexpr std::size_t kBytes = 1 << 20;
  create_swap_area(scratch / "a", kBytes);
  create_swap_area(scratch / "b", kBytes);
  Bytes area = read_bytes(scratch / "a");
  REQUIRE(area.size() == kBytes);
  CHECK(word(area, 1024) == 1);
  CHECK(word(area, 1028) == kBytes / page - 1);
  CHECK(word(area, 1032) == 0);
  CHECK((area[1042] & 0xf0) == 0x40);
  CHECK((area[1044] & 0xc0) == 0x80);
  const Bytes other = read_bytes(scratch / "b");
  CHECK_FALSE(std::equal(area.begin() + 1036, area.begin() + 1052, other.begin() + 1036));
  CHECK(std::string(area.begin() + static_cast<std::ptrdiff_t>(page) - 10,
                    area.begin() + static_cast<std::ptrdiff_t>(page)) == "SWAPSPACE2");
  std::fill(area.begin() + 1024, area.begin() + 1052, 0);
  std::fill(area.begin() + static_cast<std::ptrdiff_t>(page) - 10,
            area.begin() + static_cast<std::ptrdiff_t>(page), 0);
  CHECK(area == Bytes(kBytes, 0));

  struct stat status {};
  REQUIRE(::stat((scratch / "a").c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0600);
  CHECK(static_cast<std::uint64_t>(status.st_blocks) * 512 <= 2 * page);
}

TEST_CASE("a swap area that no kernel takes, or whose name is taken, is not made") {
  const ScratchDirectory scratch;
  const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  CHECK_THROWS_AS(create_swap_area(scratch / "small", 10 * page - 1), InvalidArgument);
  CHECK_THROWS_AS(create_swap_area(scratch / "large", ((std::uint64_t{1} << 32) + 1) * page),
                  InvalidArgument);
  CHECK(scratch.entries() == 0);
  create_swap_area(scratch / "taken", 10 * page);
  CHECK_THROWS_AS(create_swap_area(scratch / "taken", 11 * page), SystemError);
  CHECK(read_bytes(scratch / "taken").size() == 10 * page);
}
