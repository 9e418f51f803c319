#include "network/link_counters.h"

#include <array>
#include <charconv>
#include <cstddef>

#include "storage/files.h"

namespace node_compute {

namespace {

constexpr std::size_t kMostBytes = 64 << 20;
// Columns of /proc/net/dev: eight of what was received, eight of what was sent.
constexpr std::size_t kColumns = 16;

/// False where a column is missing.
bool parse_columns(std::string_view text, std::array<std::uint64_t, kColumns>& columns) {
  const char* at = text.data();
  const char* const end = at + text.size();
  for (std::uint64_t& column : columns) {
    while (at != end && *at == ' ') ++at;
    const auto [next, error] = std::from_chars(at, end, column);
    if (error != std::errc{}) return false;
    at = next;
  }
  return true;
}

}  // namespace

LinkCountersByName parse_link_counters(std::string_view text) {
  LinkCountersByName counters;
  std::array<std::uint64_t, kColumns> columns{};
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    // A name may hold a colon, a figure can't.
    const std::size_t colon = line.rfind(':');
    if (colon == std::string_view::npos || !parse_columns(line.substr(colon + 1), columns)) continue;
    const std::size_t begin = line.find_first_not_of(' ');
    counters.emplace(line.substr(begin, colon - begin),
                     LinkCounters{columns[0], columns[1], columns[3], columns[8], columns[9], columns[11]});
  }
  return counters;
}

LinkCountersByName read_link_counters() {
  // Of this thread: /proc/net is that of the process's first one.
  return parse_link_counters(read_file("/proc/thread-self/net/dev", kMostBytes));
}

}  // namespace node_compute
