// Time by which bases age: no jump of the wall clock makes one old, no restart makes it young.
import { callNative } from '../../native.js';

/** A point in time as this host's clocks show it. */
export interface Moment {
  /** Of the host's present boot; the monotonic clock means nothing beyond it. */
  readonly boot: string;
  readonly monotonicMs: number;
  readonly wallMs: number;
}

export interface CacheClock {
  now(): Promise<Moment>;
}

/** What the wall clock alone tells, after a reboot or from another host, counts for an hour at most. */
const MOST_UNSEEN_MS = 3_600_000;

/**
 * Milliseconds from one moment to the next. Within one boot they are those of the monotonic clock. Between boots and
 * between hosts there is only the wall clock, which may have been set: what it says is believed from 0 to one hour.
 */
export function elapsedMs(from: Moment, to: Moment): number {
  if (from.boot === to.boot) return Math.max(0, to.monotonicMs - from.monotonicMs);
  return Math.min(Math.max(0, to.wallMs - from.wallMs), MOST_UNSEEN_MS);
}

/** CLOCK_MONOTONIC, which all processes of a boot share; a host that sleeps does not age its cache. */
export class HostClock implements CacheClock {
  #boot: Promise<string> | undefined;

  async now(): Promise<Moment> {
    this.#boot ??= readBoot().catch((error: unknown) => {
      this.#boot = undefined;
      throw error;
    });
    const boot = await this.#boot;
    return { boot, monotonicMs: Number(process.hrtime.bigint() / 1_000_000n), wallMs: Date.now() };
  }
}

async function readBoot(): Promise<string> {
  const bytes = await callNative((addon, id) => addon.readFile('/proc/sys/kernel/random/boot_id', 64, id), {
    operation: 'read the id of this boot',
  });
  return bytes.toString('latin1').trim();
}
