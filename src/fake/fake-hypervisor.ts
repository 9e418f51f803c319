// The machine behind a FakeDriver: its domains, disks, taps and cached images, which outlive the driver as real ones do.
import type { Instance, LifecycleEvent, PowerState } from '../driver/model.js';

/** Facts of the host; all of them can be chosen. */
export interface FakeHost {
  readonly hostname: string;
  readonly architecture: string;
  readonly cpuModel: string;
  readonly vcpus: number;
  readonly memoryMb: number;
  readonly localGb: number;
}

const DEFAULT_HOST: FakeHost = {
  hostname: 'fake-host',
  architecture: 'x86_64',
  cpuModel: 'fake',
  vcpus: 64,
  memoryMb: 262_144,
  localGb: 4096,
};

export interface FakeDomain {
  readonly instance: Instance;
  readonly state: PowerState;
  /** -1 while it does not run. */
  readonly domainId: number;
  /** What the guest wrote. */
  readonly console: string;
}

/** Plain data: what {@link FakeHypervisor.save} gives and {@link FakeHypervisor.load} takes. */
export interface FakeHypervisorState {
  readonly host: FakeHost;
  readonly lastDomainId: number;
  readonly domains: readonly FakeDomain[];
  readonly disks: readonly string[];
  readonly images: readonly string[];
  /** Name of the tap, uuid of its instance. */
  readonly taps: readonly (readonly [string, string])[];
  /** uuid of a rescued instance, id of the image that it is rescued with. */
  readonly rescued?: readonly (readonly [string, string])[];
}

export interface FakeLifecycle {
  readonly uuid: string;
  readonly name: string;
  readonly event: LifecycleEvent | 'reboot' | 'device-removed';
  /** Of a device: its alias. */
  readonly detail: string;
}

/** Give the same one to a second FakeDriver to act out a restart of the process. */
export class FakeHypervisor {
  readonly host: FakeHost;
  readonly domains: Map<string, FakeDomain>;
  /** uuids of instances that have a disk. */
  readonly disks: Set<string>;
  /** ids of images in the cache. */
  readonly images: Set<string>;
  readonly taps: Map<string, string>;
  readonly rescued: Map<string, string>;
  /** Fetches under way, by image id: a second launch joins. */
  readonly fetches: Map<string, Promise<void>> = new Map();
  readonly #listeners = new Set<(event: FakeLifecycle) => void>();
  readonly #onChange: (() => void) | undefined;
  #lastDomainId: number;

  /** @param onChange Called after every change, e.g. to write {@link save} to a file. */
  constructor(host: Partial<FakeHost> = {}, state?: FakeHypervisorState, onChange?: () => void) {
    this.host = { ...DEFAULT_HOST, ...state?.host, ...host };
    this.domains = new Map(state?.domains.map((domain) => [domain.instance.uuid, domain]));
    this.disks = new Set(state?.disks);
    this.images = new Set(state?.images);
    this.taps = new Map(state?.taps);
    this.rescued = new Map(state?.rescued);
    this.#lastDomainId = state?.lastDomainId ?? 0;
    this.#onChange = onChange;
  }

  static load(state: FakeHypervisorState, onChange?: () => void): FakeHypervisor {
    return new FakeHypervisor({}, state, onChange);
  }

  save(): FakeHypervisorState {
    return {
      host: this.host,
      lastDomainId: this.#lastDomainId,
      domains: [...this.domains.values()],
      disks: [...this.disks],
      images: [...this.images],
      taps: [...this.taps],
      rescued: [...this.rescued],
    };
  }

  /** Returns how to stop listening. */
  listen(listener: (event: FakeLifecycle) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  addImage(id: string): void {
    this.images.add(id);
    this.#onChange?.();
  }

  removeImage(id: string): void {
    if (this.images.delete(id)) this.#onChange?.();
  }

  addDisk(uuid: string): void {
    this.disks.add(uuid);
    this.#onChange?.();
  }

  removeDisk(uuid: string): void {
    this.rescued.delete(uuid);
    if (this.disks.delete(uuid)) this.#onChange?.();
  }

  rescue(uuid: string, imageId: string): void {
    this.rescued.set(uuid, imageId);
    this.#onChange?.();
  }

  unrescue(uuid: string): void {
    if (this.rescued.delete(uuid)) this.#onChange?.();
  }

  addTaps(instance: Pick<Instance, 'uuid' | 'vifs'>): void {
    for (const vif of instance.vifs) this.taps.set(vif.tap, instance.uuid);
    this.#onChange?.();
  }

  removeTaps(uuid: string): void {
    this.#dropTaps(uuid);
    this.#onChange?.();
  }

  removeTap(tap: string): void {
    if (this.taps.delete(tap)) this.#onChange?.();
  }

  #dropTaps(uuid: string): void {
    for (const [tap, owner] of this.taps) if (owner === uuid) this.taps.delete(tap);
  }

  define(instance: Instance): void {
    this.domains.set(instance.uuid, { instance, state: 'shutdown', domainId: -1, console: '' });
    this.#changed(instance.uuid, 'defined', 'added');
  }

  /** Of a domain that is there: what it is made of changes, not its state. */
  redefine(instance: Instance): void {
    this.#update(instance.uuid, { instance });
    this.#onChange?.();
  }

  undefine(uuid: string): void {
    const domain = this.domains.get(uuid);
    if (!domain) return;
    this.domains.delete(uuid);
    this.#emit({ uuid, name: domain.instance.name, event: 'undefined', detail: 'removed' });
  }

  /** The guest boots and writes its greeting. */
  start(uuid: string, greeting: string): void {
    this.#lastDomainId += 1;
    const console = `${this.domains.get(uuid)?.console ?? ''}${greeting}`;
    this.#update(uuid, { state: 'running', domainId: this.#lastDomainId, console });
    this.#changed(uuid, 'started', 'booted');
  }

  /** `shutdown`: the guest's own doing, `destroyed`: the plug was pulled, `crashed`: QEMU died. */
  stop(uuid: string, detail: 'shutdown' | 'destroyed' | 'crashed'): void {
    const state = this.domains.get(uuid)?.state;
    if (state !== 'running' && state !== 'paused') return;
    // One change, as QEMU's taps go with its process.
    this.#dropTaps(uuid);
    this.#update(uuid, { state: detail === 'crashed' ? 'crashed' : 'shutdown', domainId: -1 });
    this.#changed(uuid, 'stopped', detail);
  }

  /** Its memory goes to disk, its taps with its process. */
  suspend(uuid: string): void {
    this.#dropTaps(uuid);
    this.#update(uuid, { state: 'suspended', domainId: -1 });
    this.#changed(uuid, 'stopped', 'saved');
  }

  /** From its memory: the guest goes on without a greeting. */
  resume(uuid: string): void {
    this.#lastDomainId += 1;
    this.#update(uuid, { state: 'running', domainId: this.#lastDomainId });
    this.#changed(uuid, 'started', 'restored');
  }

  /** The guest writes that it saw it. */
  injectNmi(uuid: string): void {
    this.#update(uuid, { console: `${this.domains.get(uuid)?.console ?? ''}NMI\n` });
    this.#onChange?.();
  }

  pause(uuid: string): void {
    this.#update(uuid, { state: 'paused' });
    this.#changed(uuid, 'suspended', 'paused');
  }

  unpause(uuid: string): void {
    this.#update(uuid, { state: 'running' });
    this.#changed(uuid, 'resumed', 'unpaused');
  }

  /** A running guest has let go of it. */
  deviceRemoved({ uuid, name }: Instance, alias: string): void {
    this.#emit({ uuid, name, event: 'device-removed', detail: alias });
  }

  #update(uuid: string, change: Partial<FakeDomain>): void {
    const domain = this.domains.get(uuid);
    if (domain) this.domains.set(uuid, { ...domain, ...change });
  }

  #changed(uuid: string, event: LifecycleEvent, detail: string): void {
    const name = this.domains.get(uuid)?.instance.name ?? '';
    this.#emit({ uuid, name, event, detail });
  }

  #emit(event: FakeLifecycle): void {
    this.#onChange?.();
    for (const listener of this.#listeners) listener(event);
  }
}
