// The calls on a running guest that have files of their own, against libvirt's test driver: what it can do is
// done, what it cannot is an error with libvirt's own fields.
#include <doctest/doctest.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "executor/failure.h"
#include "libvirt/connection.h"
#include "libvirt/console.h"
#include "libvirt/domain.h"
#include "libvirt/error.h"
#include "libvirt/guest_agent.h"
#include "libvirt/managed_save.h"
#include "libvirt/screenshot.h"
#include "libvirt/statistics.h"

using namespace node_compute;

namespace {

/// The running domain that each connection to the test driver begins with.
const std::string kTest = "6695eb01-f6a4-8304-79aa-97f2502e193f";

std::shared_ptr<Connection> open_test() { return Connection::open("test:///default", {}); }

/// libvirt's code; VIR_ERR_OK where the call did not fail.
template <typename Call>
int code_of(Call call) {
  try {
    call();
  } catch (const LibvirtError& error) {
    CHECK(error.what()[0] != '\0');
    return error.code;
  }
  return VIR_ERR_OK;
}

}  // namespace

TEST_CASE("memory is saved, known of, taken back or thrown away") {
  const auto connection = open_test();
  const auto domain = connection->lookup(kTest);
  CHECK_FALSE(managed_save_remove(*domain));
  managed_save(*domain);
  CHECK(domain->info().state == VIR_DOMAIN_SHUTOFF);
  CHECK(domain->info().saved);
  domain->start(0);
  CHECK(domain->info().state == VIR_DOMAIN_RUNNING);
  CHECK_FALSE(domain->info().saved);
  managed_save(*domain);
  CHECK(managed_save_remove(*domain));
  CHECK_FALSE(managed_save_remove(*domain));
  CHECK(code_of([&] { managed_save(*domain); }) == VIR_ERR_OPERATION_INVALID);
}

TEST_CASE("a picture of the screen comes whole, or is refused where it is too large") {
  const auto connection = open_test();
  const auto domain = connection->lookup(kTest);
  const Screenshot picture = screenshot(*domain, 0, 1 << 24);
  CHECK(picture.mime_type.rfind("image/", 0) == 0);
  REQUIRE(picture.bytes.size() > 8);
  CHECK(std::string(picture.bytes.begin() + 1, picture.bytes.begin() + 4) == "PNG");
  CHECK(screenshot(*domain, 0, picture.bytes.size()).bytes == picture.bytes);
  CHECK_THROWS_AS(screenshot(*domain, 0, picture.bytes.size() - 1), InvalidArgument);
  CHECK_THROWS_AS(screenshot(*domain, 0, 0), InvalidArgument);
}

TEST_CASE("pictures are taken by many threads at the same time") {
  const auto connection = open_test();
  const auto domain = connection->lookup(kTest);
  const std::size_t size = screenshot(*domain, 0, 1 << 24).bytes.size();
  std::atomic<int> whole{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5; ++i) {
        if (screenshot(*domain, 0, 1 << 24).bytes.size() == size) ++whole;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(whole == 20);
}

TEST_CASE("what a driver cannot do is an error with its code, and after close() every call is refused") {
  const auto connection = open_test();
  const auto domain = connection->lookup(kTest);
  inject_nmi(*domain);
  const auto all = [&](auto check) {
    check([&] { abort_job(*domain); });
    check([&] { set_user_password(*domain, "root", "secret", 1); });
    check([&] { guest_time(*domain, 1); });
    check([&] { set_guest_time(*domain, {1, 0}, 1); });
    check([&] { freeze(*domain, 1); });
    check([&] { thaw(*domain, 1); });
    check([&] { Console::open(*domain, "", 0); });
    check([&] { domain->set_block_threshold("vda", 1); });
  };
  all([](auto call) { CHECK(code_of(call) == VIR_ERR_NO_SUPPORT); });
  connection->close();
  all([](auto call) { CHECK_THROWS_AS(call(), Closed); });
  CHECK_THROWS_AS(inject_nmi(*domain), Closed);
  CHECK_THROWS_AS(managed_save(*domain), Closed);
  CHECK_THROWS_AS(managed_save_remove(*domain), Closed);
  CHECK_THROWS_AS(screenshot(*domain, 0, 1 << 20), Closed);
  CHECK_THROWS_AS(statistics(*domain, 0), Closed);
}

TEST_CASE("named values of every type are copied, in their order") {
  virTypedParameterPtr parameters = nullptr;
  int count = 0;
  int room = 0;
  REQUIRE(virTypedParamsAddInt(&parameters, &count, &room, "int", -1) == 0);
  REQUIRE(virTypedParamsAddUInt(&parameters, &count, &room, "uint", 4'000'000'000U) == 0);
  REQUIRE(virTypedParamsAddLLong(&parameters, &count, &room, "llong", -5'000'000'000LL) == 0);
  REQUIRE(virTypedParamsAddULLong(&parameters, &count, &room, "ullong", ~0ULL) == 0);
  REQUIRE(virTypedParamsAddDouble(&parameters, &count, &room, "double", 0.5) == 0);
  REQUIRE(virTypedParamsAddBoolean(&parameters, &count, &room, "boolean", 1) == 0);
  REQUIRE(virTypedParamsAddString(&parameters, &count, &room, "string", "text") == 0);
  const Statistics expected{{"int", std::int64_t{-1}},
                            {"uint", std::uint64_t{4'000'000'000U}},
                            {"llong", std::int64_t{-5'000'000'000LL}},
                            {"ullong", std::uint64_t{~0ULL}},
                            {"double", 0.5},
                            {"boolean", true},
                            {"string", std::string("text")}};
  CHECK(copy_parameters(parameters, count) == expected);
  CHECK(copy_parameters(nullptr, 0).empty());
  virTypedParamsFree(parameters, count);
}
