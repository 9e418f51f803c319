// Volumes and interfaces of a fake instance, by the rules of the real drivers: names, what is in use, a guest that keeps them.
import { ComputeError, type ErrorCode } from '../driver/errors.js';
import type { Instance, Vif } from '../driver/model.js';
import { type AttachedVolume, findVolume, type VolumeConnection, volumeKey } from '../driver/volume.js';
import { parseDevice, parseVolume } from '../driver/volume-schema.js';
import type { FakeCall } from './fake-call.js';
import type { FakeDomain, FakeHypervisor } from './fake-hypervisor.js';
import { ownDevices } from './fake-report.js';
import { RESCUED } from './fake-rescue.js';

export class FakeDevices {
  readonly #hypervisor: FakeHypervisor;
  readonly #keeps: (instance: Instance) => boolean;

  /** @param keeps Whether that guest never lets go of a device. */
  constructor(hypervisor: FakeHypervisor, keeps: (instance: Instance) => boolean) {
    this.#hypervisor = hypervisor;
    this.#keeps = keeps;
  }

  attachVolume(volume: VolumeConnection, device: string | undefined, call: FakeCall): AttachedVolume {
    const connection = parseVolume(volume, call.operation, call.instanceUuid);
    const wanted = parseDevice(device, call.operation, call.instanceUuid);
    const { instance } = this.#domain(call);
    const { volumes = [] } = instance;
    const standing = findVolume(volumes, connection);
    if (standing && (wanted ?? standing.device) === standing.device) return standing;
    if (standing) throw refusal('DEVICE_IN_USE', `the volume is ${standing.device} already`, call);
    if (wanted?.startsWith('sd')) throw refusal('UNSUPPORTED', 'the instance has no SCSI', call);
    const taken = new Set([...ownDevices(instance.flavor), ...volumes.map((one) => one.device)]);
    if (wanted !== undefined && taken.has(wanted)) {
      throw refusal('DEVICE_IN_USE', `${wanted} is another disk`, call);
    }
    const free = [...'abcdefghijklmnopqrstuvwxyz'].map((letter) => `vd${letter}`);
    const name = wanted ?? free.find((one) => !taken.has(one));
    if (name === undefined) throw refusal('DEVICE_IN_USE', 'every disk name is taken', call);
    const attached: AttachedVolume = { connection, device: name };
    this.#hypervisor.redefine({ ...instance, volumes: [...volumes, attached] });
    return attached;
  }

  detachVolume(volume: VolumeConnection, call: FakeCall): void {
    const connection = parseVolume(volume, call.operation, call.instanceUuid);
    const { instance } = this.#domain(call);
    const standing = findVolume(instance.volumes, connection);
    if (!standing) return;
    this.#letGo(standing.device, call);
    const volumes = instance.volumes?.filter((one) => one !== standing) ?? [];
    this.#hypervisor.redefine({ ...instance, volumes });
  }

  extendVolume(volume: VolumeConnection, sizeBytes: number, call: FakeCall): void {
    const connection = parseVolume(volume, call.operation, call.instanceUuid);
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes % 512 !== 0) {
      throw refusal('INVALID_ARGUMENT', `a size is a multiple of 512 bytes, not ${sizeBytes}`, call);
    }
    if (!findVolume(this.#domain(call).instance.volumes, connection)) {
      throw refusal('DEVICE_NOT_FOUND', 'the instance has no such volume', call);
    }
  }

  swapVolume(from: VolumeConnection, to: VolumeConnection, call: FakeCall): AttachedVolume {
    const old = parseVolume(from, call.operation, call.instanceUuid);
    const connection = parseVolume(to, call.operation, call.instanceUuid);
    const { instance, state } = this.#domain(call);
    if (state !== 'running' && state !== 'paused') throw call.invalidState('it is stopped; start it first');
    const [before, after] = [findVolume(instance.volumes, old), findVolume(instance.volumes, connection)];
    if (after && (before || volumeKey(old) === volumeKey(connection))) {
      throw refusal('DEVICE_IN_USE', `the volume is ${after.device} already`, call);
    }
    if (after) return after;
    if (!before) throw refusal('DEVICE_NOT_FOUND', 'the instance has no such volume', call);
    const swapped: AttachedVolume = { connection, device: before.device };
    const others = instance.volumes?.filter((one) => one !== before) ?? [];
    this.#hypervisor.redefine({ ...instance, volumes: [...others, swapped] });
    return swapped;
  }

  attachInterface(vif: Vif, call: FakeCall): void {
    const { instance, state } = this.#domain(call);
    const clash = instance.vifs.find(
      ({ id, mac, tap }) => id === vif.id || mac === vif.mac || tap === vif.tap,
    );
    if (clash?.id === vif.id && clash.mac === vif.mac) return;
    if (clash) throw refusal('DEVICE_IN_USE', 'the port, address or tap is that of another interface', call);
    this.#hypervisor.redefine({ ...instance, vifs: [...instance.vifs, vif] });
    if (state === 'running' || state === 'paused') {
      this.#hypervisor.addTaps({ uuid: instance.uuid, vifs: [vif] });
    }
  }

  detachInterface(vif: Vif, call: FakeCall): void {
    const { instance } = this.#domain(call);
    if (!instance.vifs.some(({ id }) => id === vif.id)) return;
    this.#letGo(vif.tap, call);
    this.#hypervisor.removeTap(vif.tap);
    this.#hypervisor.redefine({ ...instance, vifs: instance.vifs.filter(({ id }) => id !== vif.id) });
  }

  /** The alias of a fake device is its name. */
  #letGo(alias: string, call: FakeCall): void {
    const { instance, state } = this.#domain(call);
    if (state === 'paused') throw call.invalidState('it is paused; unpause it first');
    if (state !== 'running') return;
    if (this.#keeps(instance)) {
      throw refusal('DETACH_FAILED', `the guest did not let go of ${alias}`, call);
    }
    this.#hypervisor.deviceRemoved(instance, alias);
  }

  #domain(call: FakeCall): FakeDomain {
    const domain = this.#hypervisor.domains.get(call.instanceUuid ?? '');
    if (!domain) throw call.notFound();
    if (domain.state === 'suspended') throw call.invalidState('it is suspended; resume it first');
    if (this.#hypervisor.rescued.has(domain.instance.uuid)) throw call.invalidState(RESCUED);
    return domain;
  }
}

function refusal(code: ErrorCode, message: string, { operation, instanceUuid }: FakeCall): ComputeError {
  return new ComputeError(code, `${operation} of instance ${instanceUuid}: ${message}`, {
    operation,
    instanceUuid,
    retryable: code === 'DETACH_FAILED',
  });
}
