// The qcow2 validator and refcounts: what is used must be counted, and shared only where it is counted so.
#include <functional>
#include <string>

#include "image_fixture.h"

using namespace node_compute;
using namespace node_compute::qcow2;
using namespace node_compute::test;

namespace {

std::string broken(const std::function<void(Qcow2Image&)>& damage) {
  Qcow2Image image;
  damage(image);
  return image.rule();
}

void put_count(Qcow2Image& image, unsigned order, std::uint64_t cluster, std::uint64_t count) {
  const unsigned bits = 1U << order;
  std::uint8_t* at = image.bytes.data() + image.block + cluster * bits / 8;
  const unsigned shift = bits < 8 ? static_cast<unsigned>(cluster * bits % 8) : 0;
  if (bits < 8) {
    *at = static_cast<std::uint8_t>((*at & ~(((1U << bits) - 1) << shift)) | count << shift);
    return;
  }
  for (unsigned i = 0; i < bits / 8; ++i) at[i] = static_cast<std::uint8_t>(count >> (bits - 8 - i * 8));
}

/// A good image with refcounts of that width.
Qcow2Image counted(unsigned order) {
  Qcow2Image image;
  image.put32(96, order);
  std::memset(image.bytes.data() + image.block, 0, 4096);
  for (std::uint64_t cluster = 0; cluster < 8; ++cluster) put_count(image, order, cluster, 1);
  return image;
}

}  // namespace

TEST_CASE("refcounts of every width tell whether a cluster is shared") {
  for (unsigned order = 0; order <= 6; ++order) {
    CAPTURE(order);
    Qcow2Image image = counted(order);
    CHECK(image.rule().empty());
    image.put64(image.l2, image.data);
    image.put64(image.l2 + 8, image.data);
    CHECK(image.rule() == "shared-cluster");
    if (order == 0) continue;
    put_count(image, order, 5, 2);
    CHECK(image.rule().empty());
    put_count(image, order, 5, 3);
    CHECK(image.rule().empty());
  }
}

TEST_CASE("each cluster in use is counted, whatever it is used for") {
  for (unsigned order = 0; order <= 6; ++order) {
    for (std::uint64_t cluster = 0; cluster < 8; ++cluster) {
      CAPTURE(order);
      CAPTURE(cluster);
      Qcow2Image image = counted(order);
      put_count(image, order, cluster, 0);
      CHECK(image.rule() == "refcount");
      // Lazy refcounts of an image that was not closed.
      image.put64(72, kIncompatibleDirty);
      CHECK(image.rule().empty());
    }
  }
  CHECK(broken([](Qcow2Image& i) { i.put64(i.table, 0); }) == "refcount");
  CHECK(broken([](Qcow2Image& i) { i.put16(i.block + 8 * 2, 9); }).empty());
}

TEST_CASE("a cluster beyond the reach of the refcount table is not counted") {
  // 2^12 * 8 / 64 clusters a block, of which the table has one.
  Qcow2Image image = counted(6);
  image.bytes.resize(600 * 4096);
  CHECK(image.rule().empty());
  image.put64(image.l2 + 3 * 8, 511 * 4096);
  CHECK(image.rule() == "refcount");
  put_count(image, 6, 511, 1);
  CHECK(image.rule().empty());
  image.put64(image.l2 + 3 * 8, 512 * 4096);
  CHECK(image.rule() == "refcount");
}

TEST_CASE("a leak is no fault, but what is counted twice is not marked as counted once") {
  for (const std::uint64_t cluster : {0U, 1U, 2U, 3U}) {
    CHECK(broken([=](Qcow2Image& i) { i.put16(i.block + cluster * 2, 2); }).empty());
  }
  for (const std::uint64_t cluster : {4U, 5U, 6U, 7U}) {
    CHECK(broken([=](Qcow2Image& i) { i.put16(i.block + cluster * 2, 2); }) == "copied-flag");
  }
  CHECK(broken([](Qcow2Image& i) {
          i.put16(i.block + 4 * 2, 2);
          i.put64(i.l1, i.l2);
        }).empty());
  CHECK(broken([](Qcow2Image& i) {
          i.put16(i.block + 5 * 2, 2);
          i.put64(i.l2, i.data);
        }).empty());
}
