#!/bin/sh
# Builds the small BIOS guest image that integration tests boot; README.md says what it offers.
# Usage: build.sh [OUTPUT]   (default: build/guest/guest.qcow2 under the repository root)
# Environment: GUEST_CACHE (packages and lock file), GUEST_KERNEL (a kernel package to use instead of the first one apt offers).
set -eu
export LC_ALL=C TZ=UTC PATH="$PATH:/usr/sbin:/sbin" MTOOLS_SKIP_CHECK=1 SOURCE_DATE_EPOCH=1700000000
umask 022

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
output=${1:-$root/build/guest/guest.qcow2}
cache=${GUEST_CACHE:-$root/build/guest/cache}
kernels=${GUEST_KERNEL:-linux-image-cloud-amd64 linux-image-virtual linux-image-generic}

# The partition ends before the last MiB of the image: that MiB is for bin/mark, and must match MARK_SECTOR there.
disk_sectors=131072
partition_start=2048
partition_sectors=126976

# Which driver goes into which list of init; one that the kernel has built in, or lacks, is skipped.
modules_of() {
  case $1 in
    boot) echo virtio_pci virtio_blk virtio_net evdev button ;;
    scsi) echo sd_mod sr_mod ;;
    virtio_scsi) echo virtio_scsi ;;
    piix) echo ata_piix ;;
    ahci) echo ahci ;;
    nic) echo e1000 e1000e 8139cp ;;
    ext4) echo ext4 ;;
    iso9660) echo isofs ;;
    vfat) echo nls_utf8 nls_iso8859-1 nls_cp437 nls_ascii vfat ;;
    late) echo virtio_console virtio_rng virtio_balloon dmi-sysfs qemu_fw_cfg pvpanic-mmio pvpanic-pci ;;
  esac
}

fail() {
  printf 'guest image: %s\n' "$*" >&2
  exit 1
}

check_tools() {
  missing=
  while read -r tool package; do
    command -v "$tool" >/dev/null 2>&1 || missing="$missing $package"
  done <<TOOLS
apt-get apt
cpio cpio
dpkg-deb dpkg
flock util-linux
mformat mtools
qemu-img qemu-utils
sfdisk fdisk
syslinux syslinux
xz xz-utils
zstd zstd
TOOLS
  mbr=
  for path in /usr/lib/syslinux/mbr/mbr.bin /usr/lib/SYSLINUX/mbr.bin; do
    [ -n "$mbr" ] || [ ! -f "$path" ] || mbr=$path
  done
  [ -n "$mbr" ] || missing="$missing syslinux-common"
  [ -z "$missing" ] || fail "install these packages first:$missing (all that is needed stands in test/guest/packages.txt)"
  [ "$(dpkg --print-architecture)" = amd64 ] || fail "the guest is x86_64 and is built on an amd64 host only"
}

show() { # packages: what apt would install, nothing when it has no lists
  apt-cache show --no-all-versions "$@" 2>/dev/null || true
}

# Prints the first dependency whose name begins so, of the first package in the list that apt knows.
depends_on() { # name prefix, packages
  prefix=$1
  shift
  for package in "$@"; do
    show "$package" | sed -n 's/^Depends: //p' | tr ',|' '\n\n' | sed 's/^ *//; s/ .*//' | grep -m1 "^$prefix" && return 0
  done
  return 0
}

# Prints "package=version" for each package that the image is made of; nothing when apt has no lists.
resolve_packages() {
  kernel=$(depends_on linux-image- $kernels)
  # GUEST_KERNEL may name the kernel itself, which depends on no other.
  kernel=${kernel:-${GUEST_KERNEL:-}}
  [ -n "$kernel" ] || return 0
  show "$kernel" $(depends_on linux-modules- "$kernel") busybox-static |
    awk '/^Package:/ { package = $2 } /^Version:/ { print package "=" $2 }'
}

fetch() { # package=version: leaves it in the cache as one .deb, checked by apt
  file=$cache/$(echo "$1" | tr '=:/' '___').deb
  [ ! -s "$file" ] || return 0
  mkdir "$work/download"
  (cd "$work/download" && apt-get -qq -o APT::Sandbox::User=root download "$1" >&2) ||
    fail "cannot download $1: run apt-get update, then try again"
  mv "$work/download/"*.deb "$file"
  rmdir "$work/download"
}

strip_signature() { # the guest enforces none, and to check one costs an RSA operation a module
  [ "$(tail -c 28 "$1")" = '~Module signature appended~' ] || return 0
  set -- "$1" $(tail -c 32 "$1" | head -c 4 | od -An -tu1)
  truncate -s -$((28 + 12 + ($2 << 24) + ($3 << 16) + ($4 << 8) + $5)) "$1"
}

module_info() { # file, field
  tr '\0' '\n' <"$1" | sed -n "s/^$2=//p" | tr ',' ' '
}

# Adds a module to a load list, after those it depends on. The packages hold no modules.dep, hence .modinfo.
add_module() { # name, list
  name=$(echo "$1" | tr - _)
  ! grep -qx "$name" "$initramfs/lib/modules/$2" || return 0
  if [ ! -e "$initramfs/lib/modules/$name.ko" ]; then
    source=$(grep -m1 -E "/$(echo "$name" | sed 's/_/[-_]/g')\.ko(\.xz|\.zst|\.gz)?$" "$work/modules" || true)
    if [ -z "$source" ]; then
      echo "$name" >>"$work/absent"
      return 0
    fi
    case $source in
      *.xz) xz -dc "$source" ;;
      *.zst) zstd -qdc "$source" ;;
      *.gz) gzip -dc "$source" ;;
      *) cat "$source" ;;
    esac >"$initramfs/lib/modules/$name.ko"
    strip_signature "$initramfs/lib/modules/$name.ko"
  fi
  for needed in $(module_info "$initramfs/lib/modules/$name.ko" depends); do
    add_module "$needed" "$2"
  done
  echo "$1" | tr - _ >>"$initramfs/lib/modules/$2" # not $name: the recursion has one set of variables
}

make_initramfs() {
  initramfs=$work/initramfs
  mkdir -p "$initramfs/lib/modules"
  (cd "$initramfs" && mkdir bin dev etc mnt proc run sys tmp && ln -s bin sbin)
  busybox=$(find "$work/system" -path '*bin/busybox' -type f | head -n 1)
  cp "$busybox" "$initramfs/bin/busybox"
  for applet in $("$busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$initramfs/bin/$applet"
  done
  cp -R "$here/rootfs/." "$initramfs/"
  cp "$here/init" "$initramfs/init"
  chmod 755 "$initramfs/init" "$initramfs/bin/"*

  find "$work/system" -path '*/modules/*' -name '*.ko*' >"$work/modules"
  : >"$work/absent"
  for list in boot scsi virtio_scsi piix ahci nic ext4 vfat iso9660 late; do
    : >"$initramfs/lib/modules/$list"
    for module in $(modules_of "$list"); do
      add_module "$module" "$list"
    done
  done
  find "$initramfs" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
  # Not compressed: to read some MiB more is quicker than to decompress under emulation.
  (cd "$initramfs" && find . | sort | cpio --quiet --reproducible -o -H newc -R 0:0) >"$work/initramfs.cpio"
}

make_disk() {
  cat >"$work/syslinux.cfg" <<CONFIG
DEFAULT guest
PROMPT 0
TIMEOUT 0
LABEL guest
  LINUX vmlinuz
  INITRD initrd
  APPEND $(tr '\n' ' ' <"$here/cmdline")
CONFIG
  disk=$work/disk.raw
  offset=$((partition_start * 512))
  truncate -s $((disk_sectors * 512)) "$disk"
  sfdisk -q "$disk" <<TABLE
label: dos
label-id: 0x6e6f6465
start=$partition_start, size=$partition_sectors, type=e, bootable
TABLE
  dd if="$mbr" of="$disk" bs=440 count=1 conv=notrunc status=none
  mformat -i "$disk@@$offset" -T $partition_sectors -h 255 -s 63 -H $partition_start -N 6e6f6465 -v GUEST ::
  syslinux --install --offset "$offset" "$disk"
  mcopy -i "$disk@@$offset" "$(find "$work/system" -path '*/boot/vmlinuz-*' -type f | head -n 1)" ::vmlinuz
  mcopy -i "$disk@@$offset" "$work/initramfs.cpio" ::initrd
  mcopy -i "$disk@@$offset" "$work/syslinux.cfg" ::syslinux.cfg
  qemu-img convert -q -f raw -O qcow2 -c "$disk" "$work/guest.qcow2"
}

# The image is as these sources make it, and apt has read no newer lists since: no need to ask it for the newest kernel.
is_current() {
  [ -s "$output" ] && [ -f "$output.stamp" ] || return 1
  read -r built <"$output.stamp"
  [ "${built%% *}" = "$sources" ] || return 1
  [ ! -d /var/lib/apt/lists ] || [ "$output.stamp" -nt /var/lib/apt/lists ]
}

sources=$(cd "$here" && { find build.sh init cmdline rootfs -type f | LC_ALL=C sort | xargs sha256sum && echo "$kernels"; } | sha256sum | cut -d ' ' -f 1)
! is_current || exit 0
check_tools
mkdir -p "$cache" "$(dirname "$output")"
[ -w "$cache" ] && [ -w "$(dirname "$output")" ] || fail "cannot write to $cache and $(dirname "$output")"
exec 9>"$cache/lock"
flock 9
! is_current || exit 0

packages=$(resolve_packages)
stamp=$(echo "$sources" $packages)
if [ -s "$output" ] && [ -f "$output.stamp" ]; then
  read -r built <"$output.stamp"
  # Where apt has no lists, an image of the same sources is good enough.
  if [ "$built" = "$stamp" ] || { [ -z "$packages" ] && [ "${built%% *}" = "$sources" ]; }; then
    touch "$output.stamp"
    exit 0
  fi
fi
[ -n "$packages" ] || fail "apt knows none of these kernel packages: $kernels; run apt-get update, then try again"

work=$(mktemp -d "$(dirname "$output")/.guest.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir "$work/system"
for package in $packages; do
  fetch "$package"
  dpkg-deb -x "$file" "$work/system"
done
make_initramfs
make_disk
mv "$work/guest.qcow2" "$output"
echo "$stamp" >"$work/stamp"
mv "$work/stamp" "$output.stamp"
echo "guest image: $output ($(stat -c %s "$output") bytes; $(echo $packages); built in or absent: $(echo $(cat "$work/absent")))"
