// Random numbers of a test, from a seed that can be given again.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <random>

#include "image/qcow2_format.h"

namespace node_compute::test {

/// A fresh one, which is printed; NODE_COMPUTE_TEST_SEED repeats a run.
inline std::uint64_t test_seed(const char* what) {
  const char* given = std::getenv("NODE_COMPUTE_TEST_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::printf("%s seed %llu\n", what, static_cast<unsigned long long>(seed));
  return seed;
}

/// Values at which bounds checks go wrong.
inline std::uint64_t awkward(std::mt19937_64& random, std::uint64_t file_size) {
  const std::uint64_t values[] = {0,
                                  1,
                                  511,
                                  512,
                                  4095,
                                  4096,
                                  file_size - 1,
                                  file_size,
                                  file_size + 1,
                                  file_size / 4096 * 4096,
                                  0x7fffffff,
                                  0x80000000,
                                  0xffffffff,
                                  qcow2::kOffsetMask,
                                  qcow2::kCompressed | 0x3fffffffffffffff,
                                  0x7fffffffffffffff,
                                  0x8000000000000000,
                                  0xffffffffffffffff,
                                  0xfffffffffffff000,
                                  random()};
  return values[random() % std::size(values)];
}

}  // namespace node_compute::test
