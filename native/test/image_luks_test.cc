// LUKS: refused without a secret; with one, the header with the keys must be inside the image, and all else
// of the image as good as ever.
#include <functional>
#include <string>

#include "disk_fixture.h"
#include "image_fixture.h"

using namespace node_compute;
using namespace node_compute::qcow2;
using namespace node_compute::test;

namespace {

const Bytes kHeader = luks(0).bytes;
const std::uint64_t kHeaderBytes = kHeader.size();

std::string rule_with_secret(const Bytes& bytes, const std::string& format) {
  const Cancellation never;
  return image_rule([&] { inspect_file(in_memory(bytes), format, kAnySize, never, Encryption::luks); });
}

std::string luks_rule(const std::function<void(Bytes&)>& damage) {
  Bytes bytes = luks(1 << 20).bytes;
  damage(bytes);
  return rule_with_secret(bytes, "luks");
}

/// The LUKS header stands behind the image, and is counted.
Qcow2Image encrypted_image() {
  Qcow2Image image;
  const std::uint64_t offset = image.bytes.size();
  image.bytes.insert(image.bytes.end(), kHeader.begin(), kHeader.end());
  image.bytes.resize((image.bytes.size() + image.cluster - 1) / image.cluster * image.cluster);
  for (std::uint64_t i = offset; i < image.bytes.size(); i += image.cluster) {
    image.put16(image.block + i / image.cluster * 2, 1);
  }
  image.put32(32, kEncryptionLuks);
  Bytes extension(16, 0);
  store_be<std::uint64_t>(extension.data(), offset);
  store_be<std::uint64_t>(extension.data() + 8, kHeaderBytes);
  image.put_extension(kExtensionEncryption, extension);
  return image;
}

std::string qcow2_rule(const std::function<void(Qcow2Image&)>& damage) {
  Qcow2Image image = encrypted_image();
  damage(image);
  return rule_with_secret(image.bytes, "qcow2");
}

}  // namespace

TEST_CASE("images that are encrypted by LUKS are for those who have the secret") {
  const Bytes bytes = luks(1 << 20).bytes;
  CHECK(rule_of(bytes, "luks") == "encrypted");
  CHECK(rule_with_secret(bytes, "luks").empty());
  const Cancellation never;
  CHECK(inspect_file(in_memory(bytes), "luks", kAnySize, never, Encryption::luks).virtual_size == 1 << 20);
  const Qcow2Image qcow2 = encrypted_image();
  CHECK(qcow2.rule() == "encrypted");
  CHECK(rule_with_secret(qcow2.bytes, "qcow2").empty());
}

TEST_CASE("with a secret only what is encrypted by LUKS is accepted") {
  CHECK(rule_with_secret(Qcow2Image().bytes, "qcow2") == "not-encrypted");
  CHECK(rule_with_secret(Bytes(1024, 7), "raw") == "not-encrypted");
  CHECK(qcow2_rule([](Qcow2Image& i) { i.put32(32, kEncryptionAes); }) == "encrypted");
  CHECK(qcow2_rule([](Qcow2Image& i) { i.put32(32, 3); }) == "encrypted");
  CHECK(qcow2_rule([](Qcow2Image& i) { i.put32(104, kExtensionEnd); }) == "header");
  CHECK(qcow2_rule([](Qcow2Image& i) { i.put32(108, 24); }) == "header");
}

TEST_CASE("a LUKS header is inside its image, and its key material inside of it") {
  const auto word = [](std::size_t at, std::uint32_t value) {
    return luks_rule([=](Bytes& bytes) { store_be(bytes.data() + at, value); });
  };
  CHECK(word(4, 0xbabe0002) == "version");
  CHECK(luks_rule([](Bytes& bytes) { std::memset(bytes.data() + 8, 'a', 32); }) == "header");
  CHECK(luks_rule([](Bytes& bytes) { std::memset(bytes.data() + 40, 'a', 32); }) == "header");
  CHECK(luks_rule([](Bytes& bytes) { std::memset(bytes.data() + 72, 'a', 32); }) == "header");
  CHECK(word(104, 0) == "header");
  CHECK(word(104, 7) == "header");
  CHECK(word(104, static_cast<std::uint32_t>(kHeaderBytes / 512 - 8)) == "header");
  CHECK(word(104, static_cast<std::uint32_t>((kHeaderBytes + (1 << 20)) / 512)) == "empty");
  CHECK(word(104, static_cast<std::uint32_t>((kHeaderBytes + (1 << 20)) / 512) + 1) == "outside-file");
  CHECK(word(104, 0xffffffff) == "outside-file");
  CHECK(word(108, 0) == "header");
  CHECK(word(108, 65) == "header");
  CHECK(word(164, 0) == "header");
  CHECK(word(208, 0x0000dead) == "header");
  CHECK(word(208, 1) == "header");
  CHECK(word(212, 0) == "header");
  CHECK(word(208 + 40, 7) == "header");
  CHECK(word(208 + 7 * 48 + 40, 0xffffffff) == "header");
  CHECK(word(208 + 44, 4001) == "header");
  CHECK(luks_rule([](Bytes& bytes) { bytes.resize(591); }) == "header");
  CHECK(luks_rule([](Bytes& bytes) { bytes.resize(592); }) == "outside-file");
}

TEST_CASE("an encrypted qcow2 image is validated as any other, its LUKS header with it") {
  const auto place = [](std::uint64_t offset) {
    return qcow2_rule([=](Qcow2Image& i) { i.put64(112, offset); });
  };
  CHECK(place(0) == "header");
  CHECK(place(3 * 4096) == "header");
  CHECK(place(1 << 30) == "truncated");
  CHECK(qcow2_rule([](Qcow2Image& i) { i.put64(120, 591); }) == "header");
  CHECK(qcow2_rule([](Qcow2Image& i) { i.put64(120, kHeaderBytes - 512); }) == "outside-file");
  CHECK(qcow2_rule([](Qcow2Image& i) { i.put64(120, kHeaderBytes + 8192); }) == "outside-file");
  CHECK(qcow2_rule([](Qcow2Image& i) { i.put64(i.l2, 8 * 4096); }) == "overlap");
  CHECK(qcow2_rule([](Qcow2Image& i) { i.put16(i.block + 9 * 2, 0); }) == "refcount");
  CHECK(qcow2_rule([](Qcow2Image& i) { i.put64(i.l2, i.data + 512); }) == "alignment");
  CHECK(qcow2_rule([](Qcow2Image& i) {
          i.put64(8, 512);
          i.put32(16, 4);
        }) == "backing-file");
  CHECK(qcow2_rule([](Qcow2Image& i) {
          // In the middle of a cluster.
          i.put64(112, i.get64(112) + 512);
          std::memcpy(i.bytes.data() + i.get64(112), kHeader.data(), 592);
          i.put64(120, kHeaderBytes);
          i.bytes.resize(i.bytes.size() + 4096);
        }) == "alignment");
}
