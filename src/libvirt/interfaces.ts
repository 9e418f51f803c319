// Network interfaces of an instance that exists: attached and detached, running and at rest; plugged in and out.
import type { CallOptions } from '../driver/compute-driver.js';
import { ComputeError } from '../driver/errors.js';
import type { Instance, Vif } from '../driver/model.js';
import type { Bridges } from '../network/bridges.js';
import { hostLinks } from '../network/links.js';
import { checkBridgeName, checkMac, checkTapName } from '../network/names.js';
import { checkPlug, plug, unplug } from '../network/plug.js';
import { DeviceChange, type DeviceHost, type FindAlias } from './device-change.js';
import { instanceCall, wrongState } from './instance-call.js';
import type { NetworkFilters } from './network-filters.js';
import { powerState } from './states.js';
import { interfaceXml } from './xml/single-device.js';

/** As many links as an instance has, each at the kernel's leisure. */
const PLUG_TIMEOUT_MS = 120_000;

export class Interfaces {
  readonly #host: DeviceHost;
  readonly #bridges: Bridges;
  readonly #filters: NetworkFilters;

  constructor(host: DeviceHost, bridges: Bridges, filters: NetworkFilters) {
    this.#host = host;
    this.#bridges = bridges;
    this.#filters = filters;
  }

  async attach(instance: Instance, vif: Vif, options: CallOptions): Promise<void> {
    checkVif(vif);
    await DeviceChange.run(this.#host, 'attachInterface', instance, options, async (change) => {
      refuseClash(change, vif);
      const known = instance.vifs.some((one) => same(one, vif));
      const next = known ? instance : { ...instance, vifs: [...instance.vifs, vif] };
      const xml = interfaceXml(instance, change.host, vif);
      change.checkDefinition(next);
      await this.#filters.check([vif], change.context);
      const find = aliasOf(vif);
      const there = change.running && find(await change.live()) !== undefined;
      if (!known) {
        change.undo.add(`release the bridge ${vif.bridge}`, () => unplug(this.#bridges, vif));
      }
      await plug(this.#bridges, vif, change.context.signal);
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
      await unplug(this.#bridges, vif).catch((error: unknown) => {
        this.#host.logger.warn(`the bridge ${vif.bridge} could not be removed`, { error: String(error) });
      });
    });
  }

  /** What each tap is plugged into; a tap of a running guest that lost its bridge gets it back. */
  async plug({ uuid, vifs }: Instance, options: CallOptions): Promise<void> {
    await instanceCall('plugVifs', uuid, options, PLUG_TIMEOUT_MS, async (context) => {
      for (const vif of vifs) checkVif(vif);
      for (const vif of vifs) {
        await plug(this.#bridges, vif, context.signal);
        // libvirt makes the tap at the start of the domain.
        if (vif.virtualPort === undefined && (await hostLinks.getLink(vif.tap)))
          await hostLinks.addBridgePort(vif.bridge, vif.tap);
      }
    });
  }

  async unplug({ uuid, vifs }: Instance, options: CallOptions): Promise<void> {
    await instanceCall('unplugVifs', uuid, options, PLUG_TIMEOUT_MS, async (context) => {
      for (const vif of vifs) checkVif(vif);
      const domain = await this.#host.domains.find(uuid, context);
      const state = domain && powerState((await this.#host.domains.info(domain, context)).state);
      if (state === 'running' || state === 'paused') throw wrongState(context, state, 'stop it first');
      for (const vif of vifs) {
        // libvirt's went with its QEMU; this is for one that another program made to stay.
        await hostLinks.removeTap(vif.tap);
        await unplug(this.#bridges, vif);
      }
    });
  }
}

function checkVif(vif: Vif): void {
  checkMac(vif.mac);
  checkBridgeName(vif.bridge);
  checkTapName(vif.tap);
  checkPlug(vif);
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
