// The name that a volume is to have in a guest, before it is there. The node has the last word when it attaches it.
import type { InstanceView } from '../../node/types.js';

/** `/dev/vdb`, as Nova writes it. */
export const DEVICES = '/dev/';

const LETTERS = 'abcdefghijklmnopqrstuvwxyz';
export const MOST_NAMES: number = LETTERS.length;

interface Guest {
  readonly instance: Pick<InstanceView, 'flavor' | 'volumes'>;
  readonly isScsi: boolean;
  /** Names that Nova's database has given to volumes of it. */
  readonly named: readonly string[];
}

/** `vdb`: the wanted one where it is free, else the first that is. Undefined: all are taken. */
export function freeName({ instance, isScsi, named }: Guest, wanted: string | undefined): string | undefined {
  const prefix = isScsi ? 'sd' : 'vd';
  const names = [...LETTERS].map((letter) => `${prefix}${letter}`);
  const { flavor, volumes } = instance;
  const own = 1 + Number(Boolean(flavor.ephemeralGb)) + Number(Boolean(flavor.swapMb));
  const taken = new Set([...names.slice(0, own), ...named, ...volumes.map(({ device }) => device)]);
  const free = names.filter((name) => !taken.has(name));
  return wanted !== undefined && free.includes(wanted) ? wanted : free[0];
}

/** Undefined for what is none. */
export function nameOf(device: unknown): string | undefined {
  if (typeof device !== 'string') return undefined;
  return device.startsWith(DEVICES) ? device.slice(DEVICES.length) : device;
}
