// Start-up of a node: its lock, its driver, what an earlier process left; given back in reverse when a part fails.
import type { ComputeDriver } from '../driver/compute-driver.js';
import { loadDriver } from '../driver/registry.js';
import { Undo } from '../driver/undo.js';
import { ComputeService } from '../resources/compute-service.js';
import { totalsOf } from '../resources/node-report.js';
import { ResourceTracker } from '../resources/tracker.js';
import { packageVersion } from '../version.js';
import { Calls } from './calls.js';
import { noteHalts } from './halts.js';
import { HostLock } from './host-lock.js';
import { manageImageCache } from './image-cache.js';
import { InstanceIds } from './instance-ids.js';
import { InstanceLocks } from './instance-lock.js';
import type { KnownInstance } from './known-instance.js';
import type { NodeContext } from './node-context.js';
import { asComputeError, reasonOf } from './node-errors.js';
import { NodeEvents } from './node-events.js';
import { NodeFiles } from './node-files.js';
import { type NodeOptions, parseNodeOptions } from './node-options.js';
import { Periodic } from './periodic.js';
import { PowerSync } from './power-sync.js';
import { recover } from './recovery.js';
import { confirmOldResizes } from './resize.js';
import { ServiceRecord } from './service-record.js';
import { Turnstile } from './turns.js';
import type { ComputeNodeOptions, NodeEvent, Recovery } from './types.js';

/** Between two looks for resizes to be confirmed, as Nova. */
const CONFIRM_INTERVAL_MS = 60_000;

export interface OpenedNode {
  readonly context: NodeContext;
  readonly events: NodeEvents;
  readonly lock: HostLock;
  readonly imageCachePass: Periodic;
  readonly resizeConfirmPass: Periodic;
  readonly powerSync: PowerSync;
  readonly powerSyncPass: Periodic;
  readonly recoveries: readonly Recovery[];
  readonly record: ServiceRecord;
}

/** Rejects with `INVALID_ARGUMENT`, `DRIVER_UNKNOWN`, `HOST_LOCKED`, `HOST_UNSUITABLE`, or what the driver's initHost says. */
export async function openNode(given: ComputeNodeOptions): Promise<OpenedNode> {
  const options = parseNodeOptions(given);
  const undo = new Undo();
  try {
    const opened = await openParts(options, undo);
    undo.commit();
    return opened;
  } catch (error) {
    for (const { name, error } of await undo.run()) {
      options.logger.error(`closing after a failed start: ${name}: ${reasonOf(error)}`);
    }
    throw asComputeError(error, 'open');
  }
}

async function openParts(options: NodeOptions, undo: Undo): Promise<OpenedNode> {
  const { logger: log, instancesPath } = options;
  const files = new NodeFiles(instancesPath);
  await files.makeLayout();
  // Before the driver: one that is refused must not touch libvirt, nor recover what is in use.
  const lock = await HostLock.acquire(files);
  undo.add('lock', () => lock.release());
  const record = await ServiceRecord.open(files);
  const driver = await loadDriver(options.driver, { ...options.driverOptions, instancesPath, logger: log });
  undo.add('driver', () => driver.close());
  await driver.initHost();
  const events = new NodeEvents();
  events.follow(driver, log);
  const tracker = await makeTracker(driver, options);
  const service = makeService(driver, record, options);
  const instances = new Map<string, KnownInstance>();
  void noteHalts(driver, instances, log);
  const publish = (event: NodeEvent): void => events.publish(event);
  const powerSync = new PowerSync({ driver, instances, log, publish });
  void powerSync.follow();
  const recoveries = await recover({
    driver,
    tracker,
    files,
    instances,
    log,
    resumeGuestsOnHostBoot: options.resumeGuestsOnHostBoot,
  });
  const ids = await InstanceIds.open(files, idsOf(instances));
  const context: NodeContext = {
    driver,
    tracker,
    service,
    files,
    ids,
    locks: new InstanceLocks(),
    calls: new Calls(),
    launches: new Turnstile(options.maxConcurrentLaunches),
    instances,
    forceConfigDrive: options.forceConfigDrive,
    log,
    publish,
  };
  log.info(`node open on ${instancesPath} with ${driver.name}`, {
    instancesPath,
    driver: driver.name,
    instances: instances.size,
  });
  const imageCachePass = new Periodic({
    name: 'the pass over the image cache',
    intervalMs: driver.capabilities.imageCache ? options.imageCacheIntervalMs : 0,
    log,
    work: (signal) => manageImageCache(context, { signal }),
  });
  const { resizeConfirmWindowMs } = options;
  const resizeConfirmPass = new Periodic({
    name: 'the confirmation of resizes',
    intervalMs: Math.min(resizeConfirmWindowMs, CONFIRM_INTERVAL_MS),
    log,
    work: (signal) => confirmOldResizes(context, resizeConfirmWindowMs, signal),
  });
  const powerSyncPass = new Periodic({
    name: 'the comparison of power states',
    intervalMs: options.powerSyncIntervalMs,
    log,
    work: () => powerSync.run(),
  });
  const passes = { imageCachePass, resizeConfirmPass, powerSync, powerSyncPass };
  return { context, events, lock, ...passes, recoveries, record };
}

function makeService(driver: ComputeDriver, record: ServiceRecord, options: NodeOptions): ComputeService {
  const { buildFailureThreshold, buildFailureHoldMs, logger } = options;
  const service = new ComputeService({
    version: packageVersion(),
    buildFailureThreshold,
    buildFailureHoldMs,
  });
  if (record.disabledReason !== undefined) service.disable(record.disabledReason);
  void service.follow(driver.events()).catch((error: unknown) => {
    logger.error('the service no longer hears of the connection', { error: reasonOf(error) });
  });
  return service;
}

async function makeTracker(driver: ComputeDriver, options: NodeOptions): Promise<ResourceTracker> {
  const { allocationRatios, reserved, memoryOverheadMb, dedicatedCpus } = options;
  const resource = await driver.getAvailableResource();
  const cells = driver.capabilities.usage ? (await driver.getInventory()).numaCells : undefined;
  return new ResourceTracker({
    totals: totalsOf(resource),
    ...(allocationRatios && { allocationRatios }),
    ...(reserved && { reserved }),
    overheadMb: memoryOverheadMb,
    dedicatedCpus,
    cells,
  });
}

function* idsOf(instances: ReadonlyMap<string, KnownInstance>): Generator<number> {
  for (const { instance } of instances.values()) yield instance.id;
}
