#!/bin/sh
# Makes a Debian or Ubuntu machine ready: system packages, Node.js, npm packages, the addon, dist/, the guest image.
# Usage: scripts/setup.sh tools|demo|peers|test     Does only what is missing or out of date; the second run takes a second.
#   tools: what the checks of the sources need, nothing built    demo: what runs instances    test: all
#   peers: as demo, and whom the benchmarks compare with, as far as they can be had
set -eu
export LC_ALL=C
cd "$(dirname "$0")/.."
level=${1:-test}

build_packages='g++ make pkg-config python3 libvirt-dev libqcow-dev libnl-route-3-dev nettle-dev libdeflate-dev libzstd-dev'
run_packages='libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients qemu-system-x86 qemu-utils iproute2'
test_packages='binutils clang cmake doctest-dev dosfstools e2fsprogs ebtables git iptables libarchive-tools libxml2-utils openssl python3-cinder python3-configobj python3-jinja2 python3-jsonpatch
  python3-jsonschema python3-netifaces python3-oauthlib python3-requests python3-yaml strace xfsprogs'
peer_packages='bridge-utils libjson-c-dev python3-libvirt python3-nova'
fedora_packages='nodejs npm gcc-c++ make pkgconf python3 libvirt-devel libqcow-devel libnl3-devel nettle-devel libdeflate-devel libzstd-devel
  libvirt-daemon-driver-qemu libvirt-client qemu-system-x86 qemu-img iproute cmake bsdtar doctest-devel clang compiler-rt
  libasan libubsan libtsan libxml2 strace dosfstools e2fsprogs xfsprogs iptables-nft git cpio dpkg mtools syslinux xz zstd'

say() {
  printf 'setup: %s\n' "$*"
}

fail() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  else
    command -v sudo >/dev/null || fail "needs root for: $* (become root or install sudo)"
    sudo "$@"
  fi
}

on_debian() {
  command -v apt-get >/dev/null && command -v dpkg-query >/dev/null
}

apt_update() {
  say 'apt-get update'
  as_root apt-get -qq update
}

apt_install() {
  say "apt-get install $*"
  mkdir -p build
  # Lists that are missing or old make the first try fail.
  if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$@" >build/apt.log 2>&1; then
    apt_update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$@" >build/apt.log 2>&1 ||
      fail "$(tail -n 20 build/apt.log)"
  fi
}

install_packages() {
  wanted=$build_packages
  [ "$level" = tools ] || wanted="$wanted $run_packages $(tr '\n' ' ' <test/guest/packages.txt)"
  [ "$level" = demo ] || [ "$level" = peers ] || wanted="$wanted $test_packages"
  installed=$(dpkg-query -W -f='${db:Status-Abbrev}${binary:Package}\n' $wanted 2>/dev/null | sed -n 's/^ii *\([^:]*\).*/\1/p')
  missing=
  for package in $wanted; do
    case "
$installed
" in
      *"
$package
"*) ;;
      *) missing="$missing $package" ;;
    esac
  done
  [ -z "$missing" ] || apt_install $missing
  case $level in
    tools | test)
      install_fuzzer_runtime
      install_clang_format
      ;;
  esac
  [ "$level" != test ] || install_services
  [ "$level" != test ] || unpack_cloud_init
}

# Tests ask its reader of config drives. Not installed: it would set up this very machine at its next boot.
unpack_cloud_init() {
  [ ! -d build/cloud-init/cloudinit ] || return 0
  say 'unpacks cloud-init into build/cloud-init'
  mkdir -p build/cloud-init
  rm -rf build/cloud-init/*
  # Its tests say what they miss.
  { download_cloud_init || { apt_update && download_cloud_init; }; } && dpkg-deb -x build/cloud-init/*.deb build/cloud-init/package &&
    mv build/cloud-init/package/usr/lib/python3/dist-packages/cloudinit build/cloud-init/ || say 'goes on without cloud-init'
  rm -rf build/cloud-init/package build/cloud-init/*.deb
}

download_cloud_init() {
  (cd build/cloud-init && apt-get -qq -o APT::Sandbox::User=root download cloud-init)
}

# The tests start services of their own. Where systemd runs, these packages start one each on every address, which nobody asked for.
install_services() {
  for service in glance-api neutron-server placement-api prometheus rabbitmq-server; do
    dpkg-query -W -f='${db:Status-Abbrev}' "$service" 2>/dev/null | grep -q '^ii' && continue
    apt_install "$service"
    [ ! -d /run/systemd/system ] || as_root systemctl --quiet disable --now "$service"
  done
}

# One by one, and none of them must be: a benchmark names whom it skips.
install_peers() {
  if on_debian; then
    for package in $peer_packages; do
      dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' ||
        (apt_install "$package") || say "goes on without $package"
    done
  fi
  [ benchmarks/node_modules/.package-lock.json -nt benchmarks/package.json ] || {
    say 'npm install in benchmarks/'
    npm install --prefix benchmarks --no-package-lock --no-audit --no-fund --loglevel=error ||
      say 'goes on without the packages of benchmarks/package.json'
  }
}

# clang only recommends its runtime libraries, and their package carries the version in its name.
install_fuzzer_runtime() {
  machine=$(uname -m)
  [ ! -e "$(clang -print-file-name="libclang_rt.fuzzer-$machine.a")" ] || return 0
  [ ! -e "$(clang -print-file-name="libclang_rt.fuzzer.a")" ] || return 0
  major=$(clang -dumpversion)
  apt_install "libclang-rt-${major%%.*}-dev"
}

# One release decides the layout of C++; where the distribution has another, that check is left out and says so.
install_clang_format() {
  command -v clang-format-14 >/dev/null || ! apt-cache show clang-format-14 >/dev/null 2>&1 ||
    apt_install clang-format-14
}

node_is_new_enough() {
  command -v node >/dev/null && command -v npm >/dev/null &&
    node -e 'const [major, minor] = process.versions.node.split(".").map(Number);
      process.exit(major > 20 || (major === 20 && minor >= 17) ? 0 : 1)'
}

install_node() {
  node_is_new_enough && return 0
  found=$(command -v node >/dev/null && node --version || echo none)
  if on_debian; then
    [ -n "$(apt-cache policy nodejs 2>/dev/null)" ] || apt_update
    candidate=$(apt-cache policy nodejs | sed -n 's/^  Candidate: //p')
    if [ -n "$candidate" ] && dpkg --compare-versions "$candidate" ge 20.17; then
      apt_install nodejs npm
      hash -r
      node_is_new_enough && return 0
    fi
    has=", this distribution's package is ${candidate:-absent}"
  fi
  fail "Node.js 20.17 or newer with npm is needed; found: $found${has:-}.
  Take one of: the archive of https://nodejs.org/en/download unpacked under /usr/local; the packages of
  https://github.com/nodesource/distributions; 'nvm install 22'. Then run this again."
}

# A distribution may put the headers that node-gyp needs into a package of their own; without them node-gyp downloads them.
install_node_headers() {
  prefix=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")
  [ ! -e "$prefix/include/node/node_api.h" ] || return 0
  case $(dpkg-query -S "$(readlink -f "$(command -v node)")" 2>/dev/null) in
    nodejs:*) apt_install libnode-dev ;;
  esac
}

check_other_distribution() {
  missing=
  for tool in g++ make pkg-config python3 virsh qemu-system-x86_64 qemu-img ip cmake clang xmllint strace git; do
    command -v "$tool" >/dev/null || missing="$missing $tool"
  done
  for module in libvirt libqcow libnl-route-3.0 nettle libdeflate libzstd; do
    pkg-config --exists "$module" 2>/dev/null || missing="$missing $module(headers)"
  done
  [ -z "$missing" ] || fail "not a Debian or Ubuntu machine, so install by hand what is missing:$missing
  Fedora: dnf install $fedora_packages"
}

# libvirt's QEMU runs as libvirt-qemu. Where that user cannot open /dev/kvm, each new connection probes QEMU for a minute.
kvm_is_reachable() {
  set -- $(stat -c '%a %G' /dev/kvm)
  case $1 in
    ??[67]) return 0 ;;
    ?[67]?) id -nG libvirt-qemu | tr ' ' '\n' | grep -qx "$2" ;;
    *) return 1 ;;
  esac
}

prepare_qemu_user() {
  if ! getent group kvm >/dev/null; then
    say 'adds the system group kvm'
    as_root groupadd --system kvm
  fi
  if ! getent passwd libvirt-qemu >/dev/null; then
    say 'adds the system user libvirt-qemu, as the package libvirt-daemon-system does'
    as_root useradd --system --gid kvm --home-dir /var/lib/libvirt --no-create-home --shell /usr/sbin/nologin libvirt-qemu
  fi
  # Debian's libvirt looks this group up before it reads any configuration, and its QEMU driver fails without it.
  if ! getent group libvirt-qemu >/dev/null; then
    say 'adds the system group libvirt-qemu, as the package libvirt-daemon-system does'
    as_root groupadd --system libvirt-qemu
  fi
  for group in kvm libvirt-qemu; do
    id -nG libvirt-qemu | tr ' ' '\n' | grep -qx "$group" && continue
    say "adds libvirt-qemu to the group $group"
    as_root usermod -aG "$group" libvirt-qemu
  done
  if [ -e /dev/kvm ] && ! kvm_is_reachable; then
    say "gives /dev/kvm to group kvm with mode 0660, udev's own default (was $(stat -c '%U:%G 0%a' /dev/kvm))"
    as_root chgrp kvm /dev/kvm
    as_root chmod 0660 /dev/kvm
  fi
}

install_npm_packages() {
  [ node_modules/.package-lock.json -nt package-lock.json ] && return 0
  say 'npm ci'
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
}

# True where a file under the named paths is newer than the stamp, or where the stamp was made by another Node.js.
is_stale() { # stamp, paths
  stamp=$1
  shift
  [ "$(cat "$stamp" 2>/dev/null)" = "$(node --version)" ] || return 0
  [ -n "$(find "$@" -newer "$stamp" -print -quit)" ]
}

run_stamped() { # stamp, command: a change made while it runs makes the next run stale
  stamp=$1
  shift
  mkdir -p build
  node --version >"$stamp.new"
  "$@" && mv "$stamp.new" "$stamp"
}

build() {
  if [ ! -e build/Release/node_compute.node ] ||
    is_stale build/addon.stamp native binding.gyp scripts/build-addon.mjs scripts/libraries.mjs node_modules/.package-lock.json; then
    say 'builds the addon'
    run_stamped build/addon.stamp node scripts/build-addon.mjs
  fi
  if [ ! -d dist ] || is_stale build/typescript.stamp src tsconfig.json scripts/build-typescript.mjs node_modules/.package-lock.json; then
    say 'compiles src/ to dist/'
    # For the tests an error of types is one stage among others, that says the same again.
    run_stamped build/typescript.stamp node scripts/build-typescript.mjs || [ "$level" = test ]
  fi
}

build_guest() {
  [ "$(uname -m)" = x86_64 ] || fail 'the guest image, and with it the demonstration and the tests, needs an x86_64 host'
  # The kernel is a package that apt has to know.
  if on_debian && [ ! -s build/guest/guest.qcow2 ] && [ -z "$(apt-cache policy busybox-static 2>/dev/null)" ]; then
    apt_update
  fi
  sh test/guest/build.sh
}

case $level in
  tools | demo | peers | test) ;;
  *) fail "usage: scripts/setup.sh tools|demo|peers|test" ;;
esac
if on_debian; then install_packages; else check_other_distribution; fi
install_node
if on_debian; then install_node_headers; fi
install_npm_packages
[ "$level" != tools ] || exit 0
if on_debian; then prepare_qemu_user; fi
build
build_guest
[ "$level" != peers ] || install_peers
