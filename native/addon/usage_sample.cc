#include "addon/usage_sample.h"

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

namespace node_compute {

namespace {

constexpr std::size_t kUsageColumns = 21;

std::uint64_t word(double value) { return std::bit_cast<std::uint64_t>(value); }
template <class Number>
std::uint64_t word(Number value) {
  return word(static_cast<double>(value));
}

std::array<std::uint64_t, kUsageColumns> row_of(const DomainUsage& usage, std::size_t vcpu_times_at) {
  std::array<std::uint64_t, kUsageColumns> row{};
  row.fill(word(std::numeric_limits<double>::quiet_NaN()));
  row[0] = word(usage.id);
  row[1] = word(usage.state);
  row[2] = word(usage.saved ? 1 : 0);
  row[3] = word(usage.timestamp_ms);
  row[4] = word(usage.vcpus);
  row[5] = usage.cpu_time_ns;
  row[6] = word(usage.memory_kib);
  row[7] = word(usage.max_memory_kib);
  if (usage.rss_bytes) row[8] = word(*usage.rss_bytes);
  if (usage.disk) {
    row[9] = word(usage.disk->read_bytes);
    row[10] = word(usage.disk->write_bytes);
    row[11] = word(usage.disk->read_requests);
    row[12] = word(usage.disk->write_requests);
  }
  if (usage.network) {
    // The guest receives what the host sends.
    row[13] = word(usage.network->tx_bytes);
    row[14] = word(usage.network->rx_bytes);
    row[15] = word(usage.network->tx_packets);
    row[16] = word(usage.network->rx_packets);
    row[17] = word(usage.network->tx_dropped);
    row[18] = word(usage.network->rx_dropped);
  }
  row[19] = word(vcpu_times_at);
  row[20] = word(usage.vcpu_times_ns.size());
  return row;
}

}  // namespace

Napi::Value usage_to_js(Napi::Env env, const UsageSample& sample) {
  const std::size_t count = sample.domains.size();
  const Napi::Array uuids = Napi::Array::New(env, count);
  const Napi::Array names = Napi::Array::New(env, count);
  std::vector<std::uint64_t> words;
  std::vector<std::uint64_t> vcpu_times;
  words.reserve(count * kUsageColumns);
  for (std::uint32_t i = 0; i < count; ++i) {
    const DomainUsage& usage = sample.domains[i];
    uuids.Set(i, usage.uuid);
    names.Set(i, usage.name);
    const auto row = row_of(usage, count * kUsageColumns + vcpu_times.size());
    words.insert(words.end(), row.begin(), row.end());
    vcpu_times.insert(vcpu_times.end(), usage.vcpu_times_ns.begin(), usage.vcpu_times_ns.end());
  }
  words.insert(words.end(), vcpu_times.begin(), vcpu_times.end());
  const std::size_t bytes = words.size() * sizeof(std::uint64_t);
  Napi::ArrayBuffer figures = Napi::ArrayBuffer::New(env, bytes);
  if (bytes > 0) std::memcpy(figures.Data(), words.data(), bytes);

  const Napi::Object result = Napi::Object::New(env);
  result.Set("uuids", uuids);
  result.Set("names", names);
  result.Set("figures", figures);
  return result;
}

}  // namespace node_compute
