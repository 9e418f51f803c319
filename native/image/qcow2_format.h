// Numbers of the qcow2 format (QEMU's docs/interop/qcow2.txt) that its readers and writers
// share.
#pragma once

#include <cstddef>
#include <cstdint>

namespace node_compute::qcow2 {

inline constexpr std::uint32_t kMagic = 0x514649fb;
inline constexpr std::size_t kHeaderBytesV2 = 72;
inline constexpr std::size_t kHeaderBytesV3 = 104;
/// What QEMU writes since 5.1: with the compression type, padded to 8.
inline constexpr std::size_t kHeaderBytesNow = 112;

inline constexpr unsigned kMinClusterBits = 9;
inline constexpr unsigned kMaxClusterBits = 21;
inline constexpr unsigned kMinExtendedClusterBits = 14;
inline constexpr unsigned kMaxRefcountOrder = 6;

inline constexpr std::uint64_t kIncompatibleDirty = 1U << 0;
inline constexpr std::uint64_t kIncompatibleCorrupt = 1U << 1;
inline constexpr std::uint64_t kIncompatibleDataFile = 1U << 2;
inline constexpr std::uint64_t kIncompatibleCompression = 1U << 3;
inline constexpr std::uint64_t kIncompatibleExtendedL2 = 1U << 4;
inline constexpr std::uint64_t kCompatibleLazyRefcounts = 1U << 0;
inline constexpr std::uint64_t kAutoclearBitmaps = 1U << 0;
inline constexpr std::uint64_t kAutoclearRawDataFile = 1U << 1;
inline constexpr std::uint32_t kEncryptionAes = 1;
inline constexpr std::uint32_t kEncryptionLuks = 2;

inline constexpr std::uint32_t kExtensionEnd = 0;
inline constexpr std::uint32_t kExtensionBackingFormat = 0xe2792aca;
inline constexpr std::uint32_t kExtensionEncryption = 0x0537be77;
inline constexpr std::uint32_t kExtensionBitmaps = 0x23852875;
inline constexpr std::uint32_t kExtensionDataFile = 0x44415441;

inline constexpr std::uint64_t kCopied = std::uint64_t{1} << 63;
inline constexpr std::uint64_t kCompressed = std::uint64_t{1} << 62;
inline constexpr std::uint64_t kZero = 1;
inline constexpr std::uint64_t kOffsetMask = 0x00fffffffffffe00;
inline constexpr std::uint64_t kL1Reserved = 0x7f000000000001ff;
inline constexpr std::uint64_t kL2Reserved = 0x3f000000000001fe;
inline constexpr std::uint64_t kRefcountTableReserved = 0x1ff;
inline constexpr std::uint64_t kBitmapAllOnes = 1;
inline constexpr std::uint64_t kBitmapReserved = 0xff000000000001fe;
inline constexpr unsigned kSubclusters = 32;

/// Limits of QEMU's own reader: what exceeds them no QEMU opens.
inline constexpr std::uint64_t kMaxL1Bytes = 32U << 20;
inline constexpr std::uint64_t kMaxRefcountTableBytes = 8U << 20;
inline constexpr std::uint32_t kMaxSnapshots = 65536;
inline constexpr std::uint64_t kMaxSnapshotTableBytes = std::uint64_t{1024} * kMaxSnapshots;
inline constexpr std::uint32_t kMaxSnapshotExtraBytes = 1024;
inline constexpr std::uint32_t kMaxBitmaps = 65535;
inline constexpr std::uint64_t kMaxBitmapDirectoryBytes = std::uint64_t{1024} * kMaxBitmaps;
inline constexpr std::size_t kMaxBackingNameBytes = 1023;

}  // namespace node_compute::qcow2
