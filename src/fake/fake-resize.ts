// Another flavor for an instance of a fake machine: what the libvirt driver does to disks, domain and guest.
import { ComputeError } from '../driver/errors.js';
import type { Flavor, Instance } from '../driver/model.js';
import type { FakeCall } from './fake-call.js';
import type { FakeFiles } from './fake-files.js';
import { type FakeHypervisor, maxMemoryMb } from './fake-hypervisor.js';
import { ownDevices } from './fake-report.js';

/** What a resize needs of its driver. */
export interface FakeResizeHost {
  readonly hypervisor: FakeHypervisor;
  readonly files: FakeFiles;
  /** Gives the guest its time; it may or may not have stopped then. */
  readonly askToShutDown: (instance: Instance, timeoutMs: number, call: FakeCall) => Promise<void>;
  readonly start: (instance: Instance) => void;
  /** It gives nothing back and takes nothing while it runs. */
  readonly keepsSize: (instance: Instance) => boolean;
}

export class FakeResize {
  readonly #host: FakeResizeHost;

  constructor(host: FakeResizeHost) {
    this.#host = host;
  }

  async begin(instance: Instance, flavor: Flavor, shutdownTimeoutMs: number, call: FakeCall): Promise<void> {
    const { hypervisor, askToShutDown, files, start } = this.#host;
    const { uuid } = instance;
    const domain = hypervisor.domains.get(uuid);
    if (!domain) throw call.notFound();
    const { state } = domain;
    if (hypervisor.resizes.has(uuid))
      throw call.invalidState('a resize is under way; confirm or revert it first');
    if (state !== 'running' && state !== 'shutdown' && state !== 'crashed') {
      throw call.invalidState(`it is ${state}, neither running nor stopped`);
    }
    refuseShrink(instance, flavor, call);
    refuseHidden(instance, flavor, call);
    hypervisor.keep(domain.instance);
    try {
      if (state === 'running') await askToShutDown(instance, shutdownTimeoutMs, call);
      hypervisor.stop(uuid, 'destroyed');
      await call.point('migrateDiskAndPowerOff.stopped');
      await files.keepDisk(uuid);
      await call.point('migrateDiskAndPowerOff.done');
    } catch (error) {
      await files.dropKept(uuid);
      hypervisor.forget(uuid);
      if (state === 'running') {
        hypervisor.stop(uuid, 'destroyed');
        start(instance);
      }
      throw error;
    }
  }

  async finish(instance: Instance, powerOn: boolean, call: FakeCall): Promise<void> {
    const { hypervisor, start } = this.#host;
    if (!hypervisor.disks.has(instance.uuid)) throw call.notFound();
    if (!hypervisor.resizes.has(instance.uuid)) throw call.invalidState('no resize was begun');
    hypervisor.redefine(instance);
    await call.point('finishMigration.defined');
    if (powerOn) start(instance);
    await call.point('finishMigration.done');
  }

  async confirm(instance: Instance, call: FakeCall): Promise<void> {
    const { hypervisor, files } = this.#host;
    if (!hypervisor.disks.has(instance.uuid)) throw call.notFound();
    await files.dropKept(instance.uuid);
    await call.point('confirmMigration.dropped');
    hypervisor.forget(instance.uuid);
  }

  async revert(instance: Instance, powerOn: boolean, call: FakeCall): Promise<void> {
    const { hypervisor, files, start } = this.#host;
    const { uuid } = instance;
    if (!hypervisor.disks.has(uuid)) throw call.notFound();
    if (hypervisor.resizes.has(uuid)) {
      hypervisor.stop(uuid, 'destroyed');
      await call.point('finishRevertMigration.stopped');
      await files.dropKept(uuid);
      if (!hypervisor.domains.has(uuid)) hypervisor.define(instance);
      hypervisor.redefine(instance);
      hypervisor.forget(uuid);
    }
    await call.point('finishRevertMigration.restored');
    const state = hypervisor.domains.get(uuid)?.state;
    if (powerOn && state !== 'running') start(instance);
  }

  async live(instance: Instance, flavor: Flavor, call: FakeCall): Promise<void> {
    const { hypervisor, keepsSize } = this.#host;
    const domain = hypervisor.domains.get(instance.uuid);
    if (!domain) throw call.notFound();
    if (domain.state !== 'running') throw call.invalidState(`it is ${domain.state}, not running`);
    const { extraSpecs, vcpus } = domain.instance.flavor;
    const room =
      flavor.vcpus <= Number(extraSpecs['node_compute:max_vcpus'] ?? vcpus) &&
      flavor.memoryMb <= maxMemoryMb(domain);
    if (!room) throw call.invalidState('it was started with room for less');
    if (keepsSize(instance)) {
      throw new ComputeError('LIVE_RESIZE_FAILED', `the guest of ${instance.uuid} does not follow`, {
        operation: call.operation,
        instanceUuid: instance.uuid,
        retryable: true,
      });
    }
    await call.point('liveResize.changing');
    hypervisor.redefine({ ...domain.instance, flavor });
  }
}

function refuseShrink(instance: Instance, flavor: Flavor, call: FakeCall): void {
  for (const disk of ['rootGb', 'ephemeralGb'] as const) {
    if (flavor[disk] >= instance.flavor[disk]) continue;
    throw new ComputeError('FLAVOR_DISK_TOO_SMALL', `${call.operation}: ${disk} cannot shrink`, {
      operation: call.operation,
      instanceUuid: instance.uuid,
      details: { [disk]: flavor[disk] },
    });
  }
}

/** A disk to come has the name of a volume. */
function refuseHidden(instance: Instance, flavor: Flavor, call: FakeCall): void {
  const own = new Set<string>(ownDevices(flavor));
  const hidden = instance.volumes?.find(({ device }) => own.has(device));
  if (!hidden) return;
  throw new ComputeError('DEVICE_IN_USE', `${call.operation}: ${hidden.device} is a volume`, {
    operation: call.operation,
    instanceUuid: instance.uuid,
    details: { device: hidden.device },
  });
}
