// Memory and vCPUs of a guest that runs: the balloon for the one, hot plug for the other, both undone where the guest does not follow.
import type { CallOptions } from '../driver/compute-driver.js';
import { ComputeError, LibvirtError } from '../driver/errors.js';
import type { Flavor, Instance } from '../driver/model.js';
import { Undo } from '../driver/undo.js';
import type { NativeDomain } from '../native.js';
import { type DeviceHost, LIVE, MONITOR_ERRORS } from './device-change.js';
import type { CallContext } from './hypervisor.js';
import { instanceCall, wrongState } from './instance-call.js';
import type { InstanceDisks } from './instance-disks.js';
import { InstanceFiles } from './instance-files.js';
import { attributesOf } from './live-definition.js';
import { powerState } from './states.js';

export interface LiveResizeHost
  extends Pick<DeviceHost, 'instancesPath' | 'hypervisor' | 'domains' | 'logger' | 'definition'> {
  /** Milliseconds that a guest is given to give memory back, and to let go of vCPUs. */
  readonly guestTimeoutMs: number;
}

const LIVE_RESIZE_TIMEOUT_MS = 300_000;
const UNDO_TIMEOUT_MS = 60_000;
/** QEMU tells of the balloon at most once a second. */
const LOOK_MS = 100;

/** What is changed, in libvirt's units. */
interface Size {
  readonly vcpus: number;
  readonly memoryKib: number;
}

export async function liveResize(
  host: LiveResizeHost,
  instance: Instance,
  flavor: Flavor,
  options: CallOptions,
): Promise<void> {
  const { uuid } = instance;
  await instanceCall('liveResize', uuid, options, LIVE_RESIZE_TIMEOUT_MS, async (context) => {
    const domain = await host.hypervisor.domain(uuid, context);
    const info = await host.domains.info(domain, context);
    const state = powerState(info.state, info.saved);
    if (state !== 'running') throw wrongState(context, state, 'resize() changes one that is stopped');
    const files = new InstanceFiles(host.instancesPath, uuid);
    const disks = await files.readDisks(context);
    // Refused before anything is changed, where it is not possible as a definition.
    host.definition({ ...instance, flavor }, files, disks);
    const wanted = { vcpus: flavor.vcpus, memoryKib: flavor.memoryMb * 1024 };
    await checkRoom(host, domain, info, wanted, context);
    const undo = new Undo();
    const operation = 'undo of liveResize';
    const late: CallContext = { operation, instanceUuid: uuid, timeoutMs: UNDO_TIMEOUT_MS };
    const vcpus = async (): Promise<void> => {
      undo.add('the vCPUs as before', () => setVcpus(host, domain, info.vcpus, late));
      await setVcpus(host, domain, wanted.vcpus, context);
    };
    const memory = async (): Promise<void> => {
      // What a balloon has not reached yet is no concern of one who changes the vCPUs.
      if (flavor.memoryMb === instance.flavor.memoryMb) return;
      // Asked for, not waited for: a guest that has just not followed may not do so now.
      undo.add('the memory as before', () => askBalloon(host, domain, instance.flavor.memoryMb * 1024, late));
      await setMemory(host, domain, wanted.memoryKib, context);
    };
    try {
      // Last what the guest need not consent to: to take a vCPU back, it would have to.
      for (const change of wanted.vcpus < info.vcpus ? [vcpus, memory] : [memory, vcpus]) await change();
      undo.add('the definition as before', () => persist(host, instance, files, disks, late));
      const { signal: _late, ...unstopped } = context;
      await persist(host, { ...instance, flavor }, files, disks, unstopped);
    } catch (error) {
      for (const { name, error: failure } of await undo.run()) {
        const fields = { uuid, step: name, error: String(failure) };
        host.logger.error('a failed liveResize could not be undone', fields);
      }
      throw error;
    }
  });
}

/** More than the machine was made with needs another one. */
async function checkRoom(
  { hypervisor }: LiveResizeHost,
  domain: NativeDomain,
  { vcpus, maxMemoryKib }: { readonly vcpus: number; readonly maxMemoryKib: number },
  wanted: Size,
  context: CallContext,
): Promise<void> {
  const xml = await hypervisor.onDomain(domain, context, (one, id) => one.xml(0, id));
  const maxVcpus = Number(/^ {2}<vcpu [^>]*>(\d+)<\/vcpu>$/m.exec(xml)?.[1]);
  // Those that it was started with stay, unless the definition says otherwise.
  const fixed = xml.match(/^ {4}<vcpu [^>]*enabled='yes' hotpluggable='no'/gm)?.length ?? vcpus;
  if (wanted.vcpus < Math.min(fixed, vcpus)) {
    throw impossible(context, 'its vCPUs come and go only with the extra spec node_compute:max_vcpus');
  }
  if (wanted.vcpus > maxVcpus) throw noRoom(context, 'vCPUs', maxVcpus, 'node_compute:max_vcpus');
  if (wanted.memoryKib > maxMemoryKib) {
    throw noRoom(context, 'MiB of memory', maxMemoryKib / 1024, 'node_compute:max_memory_mb');
  }
  const balloon = /^ {4}<memballoon [^>]*>$/m.exec(xml)?.[0] ?? '';
  if (wanted.memoryKib < maxMemoryKib && attributesOf(balloon).get('model') !== 'virtio') {
    throw impossible(context, 'it has no memory balloon');
  }
  // QEMU 7.2 drops an emulated CPU without the event that libvirt waits for: libvirt would count it for ever.
  if (wanted.vcpus < vcpus && xml.startsWith("<domain type='qemu'")) {
    throw impossible(context, 'it is emulated, and only KVM can take a vCPU from a guest that runs');
  }
}

function impossible(context: CallContext, why: string): ComputeError {
  const { operation, instanceUuid } = context;
  return new ComputeError(
    'UNSUPPORTED',
    `${operation}: instance ${instanceUuid} cannot have that while it runs, ${why}; resize() it`,
    { operation, instanceUuid },
  );
}

function noRoom(context: CallContext, what: string, most: number, term: string): ComputeError {
  return new ComputeError(
    'INVALID_STATE',
    `${context.operation}: instance ${context.instanceUuid} was started with room for ${most} ${what}; the extra spec ${term} gives more at the next start, or resize()`,
    { operation: context.operation, instanceUuid: context.instanceUuid, details: { most, term } },
  );
}

/**
 * Into the machine, and out of it again once the guest has let go: for that libvirt asks, waits five seconds and gives up,
 * while the guest may still do so. Whether a guest uses one that came is its own affair.
 */
async function setVcpus(
  host: LiveResizeHost,
  domain: NativeDomain,
  wanted: number,
  context: CallContext,
): Promise<void> {
  const { hypervisor, domains, guestTimeoutMs } = host;
  const settled = { ...context, waitOnAbort: true };
  const end = performance.now() + guestTimeoutMs;
  for (;;) {
    const { vcpus, state } = await domains.info(domain, context);
    if (vcpus === wanted) return;
    if (powerState(state) !== 'running') throw wrongState(context, powerState(state));
    try {
      await hypervisor.onDomain(domain, settled, (one, id) => one.setVcpus(wanted, LIVE, id));
    } catch (error) {
      if (wanted > vcpus || !unanswered(error)) throw error;
      if (performance.now() > end) throw unfollowed(context, `let go of its vCPUs beyond ${wanted}`, error);
      await pause(context.signal);
    }
  }
}

/** VIR_ERR_OPERATION_TIMEOUT, and what QEMU's monitor says of a second request while the first is open. */
function unanswered(error: unknown): boolean {
  return (
    error instanceof LibvirtError &&
    (error.libvirt.libvirtCode === 68 || MONITOR_ERRORS.has(error.libvirt.libvirtCode))
  );
}

async function askBalloon(
  { hypervisor }: LiveResizeHost,
  domain: NativeDomain,
  wanted: number,
  context: CallContext,
): Promise<void> {
  const settled = { ...context, waitOnAbort: true };
  await hypervisor.onDomain(domain, settled, (one, id) => one.setMemory(wanted, LIVE, id));
}

/** The balloon is asked at once, and takes its time. */
async function setMemory(
  host: LiveResizeHost,
  domain: NativeDomain,
  wanted: number,
  context: CallContext,
): Promise<void> {
  const { domains, guestTimeoutMs } = host;
  await askBalloon(host, domain, wanted, context);
  const end = performance.now() + guestTimeoutMs;
  for (;;) {
    const { memoryKib, state } = await domains.info(domain, context);
    if (memoryKib === wanted) return;
    if (powerState(state) !== 'running') throw wrongState(context, powerState(state));
    if (performance.now() > end) {
      throw unfollowed(
        context,
        `follow its balloon to ${wanted / 1024} MiB and stands at ${memoryKib / 1024}`,
      );
    }
    await pause(context.signal);
  }
}

async function persist(
  host: LiveResizeHost,
  instance: Instance,
  files: InstanceFiles,
  disks: InstanceDisks | undefined,
  context: CallContext,
): Promise<void> {
  const xml = host.definition(instance, files, disks);
  await host.domains.define(xml, context);
  await files.writeDefinition(xml, context);
}

function unfollowed(context: CallContext, what: string, cause?: unknown): ComputeError {
  return new ComputeError(
    'LIVE_RESIZE_FAILED',
    `${context.operation}: the guest of instance ${context.instanceUuid} did not ${what}; see whether it runs and has the driver, or resize() it`,
    { operation: context.operation, instanceUuid: context.instanceUuid, retryable: true, cause },
  );
}

/** Rejects when the signal fires. */
async function pause(signal: AbortSignal | undefined): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, LOOK_MS);
    if (signal?.aborted) onAbort();
    else signal?.addEventListener('abort', onAbort, { once: true });
  });
}
