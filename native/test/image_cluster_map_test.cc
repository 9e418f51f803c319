// The map of a file's clusters, window by window: what is far apart in a large file is still held against
// each other, in memory that does not grow with the file. (Qcow2Image::rule has every image of the tests
// judged by small windows too.)
#include <functional>
#include <string>

#include "image/cluster_map.h"
#include "image_fixture.h"

using namespace node_compute;
using namespace node_compute::qcow2;
using namespace node_compute::test;

namespace {

/// In the second window and in the last one that a file may have.
constexpr std::uint64_t kFar = ClusterMap::kWindow + 5;
constexpr std::uint64_t kFarthest = ClusterMap::kMaxClusters - 1;

/// Of an image in a sparse file of as many clusters as are admitted, without counts to keep right.
std::string sparse_rule(const std::function<void(Qcow2Image&)>& change) {
  Qcow2Image image(3, 9, 3);
  image.put64(72, kIncompatibleDirty);
  change(image);
  const SourceFile small = in_memory(image.bytes);
  REQUIRE(::ftruncate(small.descriptor(), static_cast<off_t>(ClusterMap::kMaxClusters * 512)) == 0);
  const Cancellation never;
  return image_rule([&] {
    validate_qcow2(SourceFile(FileDescriptor(dup(small.descriptor())), "image"), {kAnySize}, never);
  });
}

}  // namespace

TEST_CASE("a cluster map goes on where the next cluster is in use, and nowhere else") {
  ClusterMap map(1000, 10);
  CHECK_FALSE(map.has_one_window());
  map.rewind();
  CHECK(map.covers(9));
  CHECK_FALSE(map.covers(700));
  CHECK_FALSE(map.covers(501));
  map.set(9, ClusterUse::table);
  REQUIRE(map.advance());
  CHECK(map.begin() == 501);
  CHECK(map.end() == 511);
  CHECK_FALSE(map.covers(9));
  CHECK(map.use(509) == ClusterUse::none);
  CHECK_FALSE(map.covers(999));
  map.add_use(502, ClusterUse::data);
  map.add_use(502, ClusterUse::data);
  CHECK(map.uses(502) == 2);
  CHECK(map.next_used(501, 511) == 502);
  CHECK(map.next_used(503, 511) == 511);
  REQUIRE(map.advance());
  CHECK(map.begin() == 999);
  CHECK(map.end() == 1000);
  CHECK_FALSE(map.advance());
  map.rewind();
  CHECK(map.use(9) == ClusterUse::none);
  CHECK_FALSE(map.advance());
  CHECK(ClusterMap(10, 10).has_one_window());
  CHECK(image_rule([] { ClusterMap(ClusterMap::kMaxClusters + 1, 1); }) == "too-many-clusters");
}

TEST_CASE("a file of many windows: faults are found wherever they are") {
  const auto entry = [](Qcow2Image& image, std::uint64_t index, std::uint64_t cluster) {
    image.put64(image.l2 + index * 8, cluster * 512);
  };
  CHECK(sparse_rule([&](Qcow2Image& i) {
          entry(i, 5, kFar);
          entry(i, 6, kFarthest);
        }).empty());
  for (const std::uint64_t cluster : {kFar, kFarthest}) {
    CAPTURE(cluster);
    CHECK(sparse_rule([&](Qcow2Image& i) {
            entry(i, 5, cluster);
            entry(i, 6, cluster);
          }) == "shared-cluster");
    CHECK(sparse_rule([&](Qcow2Image& i) {
            i.put64(i.l1 + 8, cluster * 512);
            entry(i, 5, cluster);
          }) == "overlap");
    CHECK(sparse_rule([&](Qcow2Image& i) {
            i.put64(i.l1 + 8, cluster * 512);
            i.put64(i.l1 + 16, cluster * 512);
          }) == "overlap");
    // Without counts there a cluster in use is not counted.
    CHECK(sparse_rule([&](Qcow2Image& i) {
            i.put64(72, 0);
            entry(i, 5, cluster);
          }) == "refcount");
  }
}
