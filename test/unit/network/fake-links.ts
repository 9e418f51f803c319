// The host's links without a kernel, for tests of what is made on them.
import { setImmediate as turn } from 'node:timers/promises';
import { ComputeError } from '../../../src/driver/errors.js';
import { BRIDGE_ALIAS, type Link, type Links, type VlanPort } from '../../../src/network/links.js';
import { subInterfaceName } from '../../../src/network/names.js';

/** A kernel in memory that answers a few turns of the event loop later, and notes two calls at once for one bridge. */
export class FakeLinks implements Links {
  readonly links = new Map<string, Link>();
  /** Taps, which no test looks at closer. */
  readonly ports = new Map<string, string[]>();
  readonly addresses = new Map<string, string[]>();
  readonly calls: string[] = [];
  overlaps = 0;
  mostAtOnce = 0;
  delay: () => Promise<void> = () => turn();
  failure: Error | undefined;
  readonly #running = new Map<string, number>();

  add(name: string, parts: Partial<Link> = {}): void {
    const link: Link = {
      kind: 'bridge',
      index: 2,
      mtu: 1500,
      up: true,
      master: '',
      mac: '',
      alias: '',
      ...parts,
    };
    this.links.set(name, link);
  }

  async #call<T>(call: string, name: string, work: () => T): Promise<T> {
    this.calls.push(`${call} ${name}`);
    const running = (this.#running.get(name) ?? 0) + 1;
    this.#running.set(name, running);
    if (running > 1) this.overlaps += 1;
    const all = [...this.#running.values()].reduce((sum, one) => sum + one, 0);
    this.mostAtOnce = Math.max(this.mostAtOnce, all);
    try {
      await this.delay();
      if (this.failure) throw this.failure;
      return work();
    } finally {
      this.#running.set(name, (this.#running.get(name) ?? 1) - 1);
    }
  }

  ensureBridge(name: string, mtu: number): Promise<boolean> {
    return this.#call('ensure', name, () => {
      if (this.links.has(name)) return false;
      this.add(name, { alias: BRIDGE_ALIAS, mtu });
      return true;
    });
  }
  removeBridge(name: string): Promise<boolean> {
    return this.#call('remove', name, () => {
      if ((this.ports.get(name)?.length ?? 0) > 0) return false;
      for (const [port, link] of this.links)
        if (link.master === name) this.add(port, { ...link, master: '' });
      return this.links.delete(name);
    });
  }
  removeTap(): Promise<void> {
    return Promise.reject(new Error('not for Bridges'));
  }
  getLink(name: string): Promise<Link | undefined> {
    return this.#call('get', name, () => this.links.get(name));
  }
  async listBridgePorts(bridge: string): Promise<string[]> {
    const joined = [...this.links].filter(([, { master }]) => master === bridge).map(([name]) => name);
    return [...(this.ports.get(bridge) ?? []), ...joined];
  }
  addBridgePort(bridge: string, port: string): Promise<boolean> {
    return this.#call('join', `${port} ${bridge}`, () => this.#join(bridge, port));
  }
  removeBridgePort(bridge: string, port: string): Promise<boolean> {
    return this.#call('part', `${port} ${bridge}`, () => {
      const link = this.links.get(port);
      if (link?.master !== bridge) return false;
      this.add(port, { ...link, master: '' });
      return true;
    });
  }
  ensureVlan({ physicalInterface, vlan, bridge, mtu }: VlanPort): Promise<boolean> {
    const name = subInterfaceName(physicalInterface, vlan);
    return this.#call('vlan', `${name} ${bridge} ${mtu}`, () => {
      const made = !this.links.has(name);
      if (made) this.add(name, { kind: 'vlan', mtu, alias: BRIDGE_ALIAS });
      this.#join(bridge, name);
      return made;
    });
  }
  removeVlan(name: string): Promise<void> {
    return this.#call('unvlan', name, () => {
      this.links.delete(name);
    });
  }
  ensureTaps(): Promise<string[]> {
    return Promise.reject(new Error('not for Bridges'));
  }
  async listAddresses(name: string): Promise<string[]> {
    return this.addresses.get(name) ?? [];
  }

  #join(bridge: string, port: string): boolean {
    const link = this.links.get(port);
    if (!link) throw new ComputeError('NETWORK_FAILED', `no link ${port}`);
    if (link.master !== '' && link.master !== bridge) {
      throw new ComputeError('NETWORK_FAILED', `a port of ${link.master}`);
    }
    this.add(port, { ...link, master: bridge });
    return link.master === '';
  }
}
