// Network interfaces of an instance that exists: attached and detached, running and at rest.
import type { CallOptions } from '../driver/compute-driver.js';
import { ComputeError } from '../driver/errors.js';
import type { Instance, Vif } from '../driver/model.js';
import type { Bridges } from '../network/bridges.js';
import { checkBridgeName, checkMac, checkMtu, checkTapName } from '../network/names.js';
import { DeviceChange, type DeviceHost, type FindAlias } from './device-change.js';
import { interfaceXml } from './xml/single-device.js';

export class Interfaces {
  readonly #host: DeviceHost;
  readonly #bridges: Bridges;

  constructor(host: DeviceHost, bridges: Bridges) {
    this.#host = host;
    this.#bridges = bridges;
  }

  async attach(instance: Instance, vif: Vif, options: CallOptions): Promise<void> {
    checkVif(vif);
    await DeviceChange.run(this.#host, 'attachInterface', instance, options, async (change) => {
      refuseClash(change, vif);
      const known = instance.vifs.some((one) => same(one, vif));
      const next = known ? instance : { ...instance, vifs: [...instance.vifs, vif] };
      const xml = interfaceXml(instance, change.host, vif);
      change.checkDefinition(next);
      const find = aliasOf(vif);
      const there = change.running && find(await change.live()) !== undefined;
      if (!known) {
        change.undo.add(`release the bridge ${vif.bridge}`, async () => {
          await this.#bridges.release(vif.bridge, vif.id);
        });
      }
      await this.#bridges.acquire(vif.bridge, { user: vif.id, mtu: vif.mtu, signal: change.context.signal });
      if (change.running && !there) await change.attach(xml, find);
      await change.persist(next);
    });
  }

  async detach(instance: Instance, vif: Vif, options: CallOptions): Promise<void> {
    checkVif(vif);
    await DeviceChange.run(this.#host, 'detachInterface', instance, options, async (change) => {
      refuseClash(change, vif);
      if (change.running) await change.detach(aliasOf(vif), `the interface ${vif.mac}`);
      await change.persistForGood({ ...instance, vifs: instance.vifs.filter((one) => !same(one, vif)) });
      // The interface is gone whatever becomes of its bridge, which the next instance to use it lets go of again.
      await this.#bridges.release(vif.bridge, vif.id).catch((error: unknown) => {
        this.#host.logger.warn(`the bridge ${vif.bridge} could not be removed`, { error: String(error) });
      });
    });
  }
}

function checkVif({ mac, bridge, tap, mtu }: Vif): void {
  checkMac(mac);
  checkBridgeName(bridge);
  checkTapName(tap);
  checkMtu(mtu ?? 0);
}

function same(one: Vif, other: Vif): boolean {
  return one.id === other.id && one.mac === other.mac;
}

function sharesName(one: Vif, other: Vif): boolean {
  return one.id === other.id || one.mac === other.mac || one.tap === other.tap;
}

function aliasOf({ mac }: Vif): FindAlias {
  return ({ interfaces }) => interfaces.find((one) => one.mac === mac.toLowerCase())?.alias;
}

/** An interface is found by its address: another port's must not be taken for it. Throws `DEVICE_IN_USE`. */
function refuseClash(change: DeviceChange, vif: Vif): void {
  const clash = change.instance.vifs.some((one) => !same(one, vif) && sharesName(one, vif));
  if (clash) throw inUse(change, vif);
}

function inUse({ context, instance }: DeviceChange, { id, mac, tap }: Vif): ComputeError {
  return new ComputeError(
    'DEVICE_IN_USE',
    `${context.operation}: the port, address or tap is that of another interface of instance ${instance.uuid}`,
    { operation: context.operation, instanceUuid: instance.uuid, details: { port: id, mac, tap } },
  );
}
