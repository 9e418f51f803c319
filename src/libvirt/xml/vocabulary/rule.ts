// How one value of Nova's vocabulary is read: a rule gives the parsed value or refuses it with a typed error.
import { ComputeError } from '../../../driver/errors.js';

/** Reads the value of one key. Throws ComputeError. */
export type Rule<V> = (raw: string, key: string) => V;

export function invalid(key: string, value: string, allowed: string): ComputeError {
  return new ComputeError(
    'INVALID_ARGUMENT',
    `${key}=${JSON.stringify(value)} is not valid; allowed: ${allowed}`,
    {
      operation: 'validateFlavorAndImage',
      details: { key, value, allowed },
    },
  );
}

/** A value that is right by itself and wrong beside others. */
export function inconsistent(key: string, value: string, reason: string): ComputeError {
  return new ComputeError('INVALID_ARGUMENT', `${key}=${JSON.stringify(value)}: ${reason}`, {
    operation: 'validateFlavorAndImage',
    details: { key, value },
  });
}

/** Nova knows it, this driver or this host can't do it. */
export function unsupportedTerm(key: string, value: string, reason: string): ComputeError {
  return new ComputeError('UNSUPPORTED', `${key}=${JSON.stringify(value)} is not supported: ${reason}`, {
    operation: 'validateFlavorAndImage',
    details: { key, value },
  });
}

export function conflict(
  flavorKey: string,
  flavorValue: string,
  imageKey: string,
  imageValue: string,
): ComputeError {
  return new ComputeError(
    'FLAVOR_IMAGE_CONFLICT',
    `the flavor's ${flavorKey}=${JSON.stringify(flavorValue)} conflicts with the image's ${imageKey}=${JSON.stringify(imageValue)}`,
    { operation: 'validateFlavorAndImage', details: { flavorKey, flavorValue, imageKey, imageValue } },
  );
}

export function integer(min: number, max: number): Rule<number> {
  return (raw, key) => {
    const value = /^\s*[+-]?\d{1,16}\s*$/.test(raw) ? Number(raw) : Number.NaN;
    if (!(value >= min && value <= max)) throw invalid(key, raw, `a whole number from ${min} to ${max}`);
    return value;
  };
}

const TRUE = new Set(['1', 't', 'true', 'on', 'y', 'yes']);
const FALSE = new Set(['0', 'f', 'false', 'off', 'n', 'no']);

/** Nova takes any other word for false; here it is refused. */
export function flag(): Rule<boolean> {
  return (raw, key) => {
    const word = raw.trim().toLowerCase();
    if (TRUE.has(word)) return true;
    if (FALSE.has(word)) return false;
    throw invalid(key, raw, 'true, false (also yes, no, on, off, 1, 0)');
  };
}

export interface ChoiceOptions {
  /** Words that Nova has for other hypervisors. */
  readonly elsewhere?: readonly string[];
  /** Old and other spellings. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** Compare in lower case. */
  readonly lowerCase?: boolean;
}

export function choice<V extends string>(values: readonly V[], options: ChoiceOptions = {}): Rule<V> {
  const aliases = new Map(Object.entries(options.aliases ?? {}));
  return (raw, key) => {
    const word = options.lowerCase ? raw.trim().toLowerCase() : raw;
    const canonical = aliases.get(word) ?? word;
    const found = values.find((value) => value === canonical);
    if (found !== undefined) return found;
    if (options.elsewhere?.includes(canonical)) {
      throw unsupportedTerm(key, raw, `this driver has ${values.join(', ')}`);
    }
    throw invalid(key, raw, values.join(', '));
  };
}

export function pattern(expression: RegExp, allowed: string): Rule<string> {
  return (raw, key) => {
    if (!expression.test(raw)) throw invalid(key, raw, allowed);
    return raw;
  };
}

/** A flag whose true this driver can't do; false is what it does anyway. */
export function neverTrue(reason: string): Rule<false> {
  const parse = flag();
  return (raw, key) => {
    if (parse(raw, key)) throw unsupportedTerm(key, raw, reason);
    return false;
  };
}

export function never(reason: string): Rule<never> {
  return (raw, key) => {
    throw unsupportedTerm(key, raw, reason);
  };
}

/** CPUs of a mask such as `0-3,^2`, in rising order. A mask that begins with `^` is taken from all `vcpus`, as Nova does. */
export function cpuMask(raw: string, key: string, vcpus: number): number[] {
  const allowed = `a CPU list such as 0-3,^2 with CPUs from 0 to ${vcpus - 1}`;
  const chosen = new Set<number>();
  const excluded = new Set<number>();
  const parts = raw.split(',').map((part) => part.trim());
  for (const part of parts) {
    const match = /^(\^?)(\d{1,5})(?:-(\d{1,5}))?$/.exec(part);
    if (!match) throw invalid(key, raw, allowed);
    const from = Number(match[2]);
    const to = match[3] === undefined ? from : Number(match[3]);
    if (to < from || to >= vcpus) throw invalid(key, raw, allowed);
    for (let cpu = from; cpu <= to; cpu++) (match[1] ? excluded : chosen).add(cpu);
  }
  if (parts[0]?.startsWith('^')) for (let cpu = 0; cpu < vcpus; cpu++) chosen.add(cpu);
  return [...chosen].filter((cpu) => !excluded.has(cpu)).sort((a, b) => a - b);
}

export type PageSize = 'small' | 'large' | 'any' | number;

const UNIT_KIB: Readonly<Record<string, number>> = {
  '': 1 / 1024,
  k: 1,
  m: 1024,
  g: 1024 ** 2,
  t: 1024 ** 3,
};

/** A word, or the size in KiB. */
export function pageSize(): Rule<PageSize> {
  return (raw, key) => {
    if (raw === 'small' || raw === 'large' || raw === 'any') return raw;
    const match = /^(\d{1,12})(?:(?:([kKMGT])i?)?(B))?$/.exec(raw);
    const bare = match !== null && match[3] === undefined;
    const kib = match
      ? Number(match[1]) * (bare ? 1 : (UNIT_KIB[(match[2] ?? '').toLowerCase()] ?? Number.NaN))
      : 0;
    if (kib >= 1 && kib <= 16 * 1024 ** 2 && Number.isInteger(Math.log2(kib))) return kib;
    throw invalid(key, raw, 'small, large, any, or a power of two in KiB or with a unit (2048, 2MB, 1GB)');
  };
}
