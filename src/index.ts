// The public names of node-compute. Importing this loads no addon: the first libvirt driver or node that is opened does.
import { registerDriver } from './driver/registry.js';
import { FakeDriver } from './fake/fake-driver.js';
import type { FakeDriverOptions } from './fake/fake-driver-calls.js';

export { BaseDriver } from './driver/base-driver.js';
export {
  type CacheImageOptions,
  type CacheOutcome,
  type CallOptions,
  type ComputeDriver,
  type DestroyOptions,
  type DriverCapabilities,
  METHOD_CAPABILITY,
  type OpenConsoleOptions,
  type PowerOffOptions,
  type RebootOptions,
  type RebootType,
  type SpawnOptions,
  type SpawnProgress,
  type SpawnResult,
  type SpawnStep,
  type UsageOptions,
} from './driver/compute-driver.js';
export type {
  ConfigDriveContent,
  ConfigDriveFile,
  ConfigDriveFormat,
  ConfigDriveKey,
} from './driver/config-drive.js';
export type { ConsoleEndpoint, Screenshot } from './driver/console.js';
export type {
  CpuDiagnostics,
  Diagnostics,
  DiskDiagnostics,
  MemoryDiagnostics,
  NicDiagnostics,
} from './driver/diagnostics.js';
export {
  ComputeError,
  type ComputeErrorOptions,
  type ErrorCode,
  LibvirtError,
  type LibvirtErrorFields,
  unsupported,
} from './driver/errors.js';
export { EventStream, type UnnumberedEvent } from './driver/event-stream.js';
export { checkInstanceIdentity, checkInstanceUuid } from './driver/identity.js';
export type { ImageCacheEvent, ImageCacheMetrics } from './driver/image-cache.js';
export type { NodeInventory } from './driver/inventory.js';
export {
  type AvailableResource,
  type BlockJobStatus,
  type DiskFormat,
  type DriverEvent,
  type Flavor,
  type ImageChecksum,
  type ImageMeta,
  type ImageSource,
  type Instance,
  type InstanceInfo,
  type InstanceSummary,
  instanceName,
  type LifecycleEvent,
  POWER_STATE_CODES,
  type PowerState,
  type Vif,
  type VifAddress,
} from './driver/model.js';
export { type DriverFactory, loadDriver, registerDriver, registeredDrivers } from './driver/registry.js';
export { Undo } from './driver/undo.js';
export type { InstanceUsage, UsageGroup } from './driver/usage.js';
export type { AttachedVolume, VolumeConnection, VolumeLimits, VolumeSettings } from './driver/volume.js';
export { FakeDriver } from './fake/fake-driver.js';
export type { FakeDriverOptions, FakeGuest } from './fake/fake-driver-calls.js';
export {
  type FakeDomain,
  type FakeHost,
  FakeHypervisor,
  type FakeHypervisorState,
} from './fake/fake-hypervisor.js';
export { type FakeCallName, type Fault, type FaultAction, type FaultPoint, Faults } from './fake/faults.js';
export type { CachedImage } from './image/cache/list.js';
export type { Eviction, PruneOptions, PruneResult } from './image/cache/pass.js';
export type { ScrubOptions, ScrubProgress, ScrubResult } from './image/cache/scrub.js';
export type { ImageCacheNews } from './image/cache/telemetry.js';
export {
  type ConvertedImage,
  type ConvertImageOptions,
  convertImage,
  type EncryptedImage,
  type ForeignImage,
} from './image/convert-image.js';
export { type CreateImageOptions, createImage } from './image/create-image.js';
export { digestFile } from './image/digest-file.js';
export {
  Disk,
  type DiskExtent,
  type DiskStream,
  type DiskStreamOptions,
  type ImageLayer,
  type OpenDiskOptions,
  openDisk,
} from './image/disk.js';
export type {
  GlanceOptions,
  KeystoneApplicationCredential,
  KeystoneCredentials,
  KeystonePassword,
} from './image/glance-options.js';
export { GlanceImageService } from './image/glance-service.js';
export { type GrownImage, growImage } from './image/grow-image.js';
export { ImageCache } from './image/image-cache.js';
export { type ImageInfo, imageInfo } from './image/image-info.js';
export type { ImageCallOptions, ImageProgressOptions } from './image/image-options.js';
export { type ImageVerdict, type InspectImageOptions, inspectImage } from './image/inspect-image.js';
export type {
  BaseImage,
  EnsureBaseOptions,
  HttpSourceOptions,
  ImageActivity,
  ImageCacheOptions,
  ImageLookupOptions,
  ImageProgress,
  ImageService,
  InstanceDisk,
  InstanceDiskOptions,
} from './image/types.js';
export type { LibvirtDriverOptions, SecurityOptions } from './libvirt/options.js';
export { ComputeNode } from './node/compute-node.js';
export type { Guests } from './node/guests.js';
export type {
  AttachVolumeOptions,
  CacheImageNodeOptions,
  ComputeNodeOptions,
  ConfigDriveRequest,
  ConsoleOptions,
  InstanceView,
  LaunchOptions,
  LaunchProgress,
  LaunchRequest,
  LaunchResult,
  LaunchStep,
  Logger,
  NetworkRequest,
  NodeEvent,
  OperationOptions,
  RebootNodeOptions,
  Recovery,
  ShutdownOptions,
  StepTiming,
} from './node/types.js';
export type { NodeReport, ResourceUsage } from './resources/types.js';

registerDriver('fake.FakeDriver', (options) => new FakeDriver(options as FakeDriverOptions));
registerDriver('libvirt.LibvirtDriver', async (options) => {
  const { LibvirtDriver } = await import('./libvirt/libvirt-driver.js');
  return new LibvirtDriver(options);
});
