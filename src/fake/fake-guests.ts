// What the guests of a FakeHypervisor do of themselves, at the word of a test: the events that real ones cause.
import type { UnnumberedEvent } from '../driver/event-stream.js';
import type { GuestEvent, IoErrorEvent, JobCompletedEvent, WatchdogEvent } from '../driver/guest-events.js';
import type { PowerState } from '../driver/model.js';

type Told<E extends GuestEvent> = Omit<E, 'type' | 'sequence' | 'timestamp' | 'uuid' | 'name'>;

/** Of a FakeHypervisor, what its guests need. */
interface Machine {
  readonly domains: ReadonlyMap<
    string,
    { readonly instance: { readonly name: string }; readonly state: PowerState }
  >;
  pause(uuid: string, detail: 'io-error' | 'watchdog'): void;
  stop(uuid: string, detail: 'shutdown'): void;
  reset(uuid: string): void;
  panic(uuid: string): void;
  tell(event: UnnumberedEvent): void;
}

/** Each does nothing where the instance does not run. */
export class FakeGuests {
  readonly #hypervisor: Machine;
  /** By instance and disk. */
  readonly #thresholds = new Map<string, number>();

  constructor(hypervisor: Machine) {
    this.#hypervisor = hypervisor;
  }

  /** With the action `pause` it stands still until it is unpaused. */
  ioError(uuid: string, error: Partial<Told<IoErrorEvent>> = {}): void {
    const { alias = 'virtio-disk0', path = '', action = 'pause', reason = 'enospc' } = error;
    this.#tell(uuid, (of) => ({ ...of, type: 'io-error', alias, path, action, reason }));
    if (action === 'pause') this.#hypervisor.pause(uuid, 'io-error');
  }

  /** It did not feed its watchdog. */
  watchdog(uuid: string, action: WatchdogEvent['action']): void {
    this.#tell(uuid, (of) => ({ ...of, type: 'watchdog', action }));
    if (action === 'pause') this.#hypervisor.pause(uuid, 'watchdog');
    else if (action === 'poweroff') this.#hypervisor.stop(uuid, 'shutdown');
    else if (action === 'reset') this.#hypervisor.reset(uuid);
  }

  /** Its kernel panics, and it has a device to say so. */
  panic(uuid: string): void {
    this.#hypervisor.panic(uuid);
  }

  agent(uuid: string, state: 'connected' | 'disconnected'): void {
    this.#tell(uuid, (of) => ({ ...of, type: 'agent', state, reason: 'channel' }));
  }

  balloon(uuid: string, memoryKib: number): void {
    this.#tell(uuid, (of) => ({ ...of, type: 'balloon', memoryKib }));
  }

  jobCompleted(uuid: string, job: Told<JobCompletedEvent>): void {
    this.#tell(uuid, (of) => ({ ...of, type: 'job-completed', ...job }));
  }

  /** For the driver; 0 forgets it. */
  setThreshold(uuid: string, disk: string, bytes: number): void {
    if (bytes === 0) this.#thresholds.delete(`${uuid} ${disk}`);
    else this.#thresholds.set(`${uuid} ${disk}`, bytes);
  }

  /** It writes up to that byte of its disk. */
  writes(uuid: string, disk: string, upToByte: number): void {
    const thresholdBytes = this.#thresholds.get(`${uuid} ${disk}`);
    if (thresholdBytes === undefined || upToByte <= thresholdBytes) return;
    this.#thresholds.delete(`${uuid} ${disk}`);
    const excessBytes = upToByte - thresholdBytes;
    this.#tell(uuid, (of) => ({ ...of, type: 'disk-threshold', disk, thresholdBytes, excessBytes }));
  }

  /** Its QEMU ends, and with it what was only in there. */
  stopped(uuid: string): void {
    for (const key of this.#thresholds.keys()) {
      if (key.startsWith(`${uuid} `)) this.#thresholds.delete(key);
    }
  }

  #tell(uuid: string, make: (of: { uuid: string; name: string }) => UnnumberedEvent): void {
    const domain = this.#hypervisor.domains.get(uuid);
    if (domain?.state !== 'running' && domain?.state !== 'paused') return;
    this.#hypervisor.tell(make({ uuid, name: domain.instance.name }));
  }
}
