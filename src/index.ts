// The public names of node-compute. Importing this loads no addon: the first libvirt driver or node that is opened does.
import { registerDriver } from './driver/registry.js';
import { FakeDriver } from './fake/fake-driver.js';
import type { FakeDriverOptions } from './fake/fake-driver-calls.js';

export { type AgentConfig, readAgentConfig } from './agent/agent-config.js';
export { AgentMonitor, type MonitorOptions } from './agent/agent-monitor.js';
export type { ComputeAgentOptions, VncOptions } from './agent/agent-options.js';
export type { AmqpBrokerOptions, AmqpTlsOptions, BrokerState } from './agent/amqp-broker.js';
export type { CinderOptions } from './agent/cinder/cinder.js';
export { type CloseAgentOptions, ComputeAgent } from './agent/compute-agent.js';
export type { NeutronOptions } from './agent/neutron/neutron.js';
export { BaseDriver } from './driver/base-driver.js';
export {
  type CacheImageOptions,
  type CacheOutcome,
  type CallOptions,
  type ComputeDriver,
  type DestroyOptions,
  type DriverCapabilities,
  type FinishMigrationOptions,
  METHOD_CAPABILITY,
  type OpenConsoleOptions,
  type PowerOffOptions,
  type RebootOptions,
  type RebootType,
  type RebuildOptions,
  type RescueOptions,
  type SnapshotOptions,
  type SpawnOptions,
  type SpawnProgress,
  type SpawnResult,
  type SpawnStep,
  type UnrescueOptions,
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
export type {
  AgentEvent,
  BalloonEvent,
  DiskThresholdEvent,
  GuestEvent,
  IoErrorEvent,
  JobCompletedEvent,
  JobOperation,
  WatchdogEvent,
} from './driver/guest-events.js';
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
  type ResyncChange,
  type ResyncedEvent,
  type Vif,
  type VifAddress,
} from './driver/model.js';
export { type DriverMethod, NOVA_METHODS } from './driver/nova-methods.js';
export type { InstancePlacement } from './driver/placement.js';
export { type DriverFactory, loadDriver, registerDriver, registeredDrivers } from './driver/registry.js';
export type {
  SnapshotProgress,
  SnapshotResult,
  SnapshotStep,
  SnapshotTarget,
} from './driver/snapshot.js';
export { Undo } from './driver/undo.js';
export type { InstanceUsage, UsageGroup } from './driver/usage.js';
export type { AttachedVolume, VolumeConnection, VolumeLimits, VolumeSettings } from './driver/volume.js';
export { FakeDriver } from './fake/fake-driver.js';
export type { FakeDriverOptions, FakeGuest } from './fake/fake-driver-calls.js';
export type { FakeGuests } from './fake/fake-guests.js';
export {
  type FakeDomain,
  type FakeHost,
  FakeHypervisor,
  type FakeHypervisorState,
} from './fake/fake-hypervisor.js';
export {
  type FakeCallName,
  type Fault,
  type FaultAction,
  type FaultPoint,
  Faults,
  type ResizePoint,
} from './fake/faults.js';
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
export { type NetworkFeatures, networkFeatures } from './network/features.js';
export { hostLinks, type Link, type Links, type TapPorts, type VlanPort } from './network/links.js';
export { ComputeNode } from './node/compute-node.js';
export type { Guests } from './node/guests.js';
export type { NodeService } from './node/node-service.js';
export { type PlacementOptions, placementSink } from './node/placement.js';
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
  LiveResizeRequest,
  Logger,
  NetworkRequest,
  NodeEvent,
  OperationOptions,
  RebootNodeOptions,
  RebuildNodeOptions,
  RebuildRequest,
  Recovery,
  RescueNodeOptions,
  ResizeOptions,
  ResizePhase,
  ResizeView,
  ShelveOptions,
  ShutdownOptions,
  SnapshotNodeOptions,
  StepTiming,
  UnshelveOptions,
  VmState,
} from './node/types.js';
export type {
  Claim,
  ClaimedFlavor,
  ClaimRecord,
  ClaimShortage,
  ResourceAmounts,
  ResourceCheck,
} from './resources/claims.js';
export type { DisabledBy, ServiceStatus } from './resources/compute-service.js';
export {
  computeFilter,
  coreFilter,
  diskFilter,
  filterHosts,
  type HostFilter,
  type HostFilterOptions,
  type HostState,
  ramFilter,
  weighHosts,
} from './resources/host-filters.js';
export type { PlacementSink, PlacementSinkOptions } from './resources/placement/placement-sink.js';
export {
  applyDelta,
  type DeltaReport,
  type FullReport,
  type InstanceReport,
  type ResourceReport,
  reportDelta,
} from './resources/report.js';
export { reportJson } from './resources/report-json.js';
export type { ReadReportsOptions } from './resources/report-reader.js';
export type { ReporterOptions, ResourceReporter } from './resources/resource-reporter.js';
export type { ReportSink, ReportUpdate, SinkStatus } from './resources/sink.js';
export { callbackSink } from './resources/sinks/callback.js';
export { type JsonLinesOptions, jsonLinesSink } from './resources/sinks/json-lines.js';
export { type PrometheusOptions, PrometheusSink } from './resources/sinks/prometheus.js';
export { prometheusText } from './resources/sinks/prometheus-text.js';
export { type ClaimOptions, ResourceTracker, type ResourceTrackerOptions } from './resources/tracker.js';
export type { NodeReport, ResourceUsage } from './resources/types.js';
export { type UsageRates, usageRates } from './resources/usage-rates.js';

registerDriver('fake.FakeDriver', (options) => new FakeDriver(options as FakeDriverOptions));
registerDriver('libvirt.LibvirtDriver', async (options) => {
  const { LibvirtDriver } = await import('./libvirt/libvirt-driver.js');
  return new LibvirtDriver(options);
});
