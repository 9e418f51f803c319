// Whose zombie is it? Only an adopted daemon may be collected.
#include "libvirt/reaper.h"

#include <doctest/doctest.h>
#include <sys/types.h>

using namespace node_compute;

TEST_CASE("a daemon that was forked twice and adopted is collected") {
  CHECK(is_adopted_daemon("812 (qemu-system-x86) Z 100 811 811 0 -1", 812, 100));
}

TEST_CASE("a child in our own session belongs to whoever forked it") {
  CHECK_FALSE(is_adopted_daemon("812 (qemu-img) Z 100 100 100 0 -1", 812, 100));
}

TEST_CASE("a detached child leads its own session and belongs to whoever forked it") {
  CHECK_FALSE(is_adopted_daemon("812 (qemu-system-x86) Z 100 812 812 0 -1", 812, 100));
}

TEST_CASE("what QEMU leaves between its two forks is told from other children that lead a session") {
  CHECK(is_daemons_first_half("811 (qemu-system-x86) Z 100 811 811 0 -1", 811));
  CHECK_FALSE(is_daemons_first_half("811 (mkfs.ext4) Z 100 811 811 0 -1", 811));
  CHECK_FALSE(is_daemons_first_half("812 (qemu-system-x86) Z 100 811 811 0 -1", 812));
  CHECK_FALSE(is_daemons_first_half("811 (qemu-system-x86) S 100 811 811 0 -1", 811));
}

TEST_CASE("a process that still runs is left alone") {
  CHECK_FALSE(is_adopted_daemon("812 (qemu-system-x86) S 100 811 811 0 -1", 812, 100));
}

TEST_CASE("a command with spaces and parentheses does not shift the fields") {
  CHECK(is_adopted_daemon("812 (a) Z 1 (b) Z 100 811 811 0 -1", 812, 100));
}

TEST_CASE("a process that is gone by now is nobody's") {
  CHECK_FALSE(is_adopted_daemon("", 812, 100));
  CHECK_FALSE(is_adopted_daemon("812 (qemu", 812, 100));
}
