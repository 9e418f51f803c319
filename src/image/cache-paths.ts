// Where the image cache keeps its files below the instances path.
import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { ComputeError } from '../driver/errors.js';

/** An image's base, and what Nova calls those of the disks that have no image. */
const BASE_NAME = /^(?:[0-9a-f]{40}|ephemeral_\d+_[0-9a-f]{7}|swap_\d+)$/;
/** `<base>.<step>.<random>`: the lock of that base says whether someone still works on it. */
const TEMPORARY_NAME = /^(.+)\.[a-z]+\.[0-9a-f]{12}$/;

/** False for records, directories, and what others put into `_base`. */
export function isBaseName(name: string): boolean {
  return BASE_NAME.test(name);
}

/** The key of a temporary file's name; undefined for a name that is none of ours. */
export function keyOfTemporary(name: string): string | undefined {
  const key = TEMPORARY_NAME.exec(name)?.[1];
  return key !== undefined && isBaseName(key) ? key : undefined;
}

/** Name of an image's base file: Nova's `sha1(image id)`. */
export function imageKey(imageId: string): string {
  if (imageId.length === 0 || imageId.length > 255) {
    throw new ComputeError('INVALID_ARGUMENT', 'the id of an image has 1 to 255 characters');
  }
  return createHash('sha1').update(imageId).digest('hex');
}

/** Nova's name of the base of ephemeral disks of that size which this command makes. */
export function ephemeralKey(sizeGb: number, command: string): string {
  return `ephemeral_${sizeGb}_${createHash('sha1').update(command).digest('hex').slice(0, 7)}`;
}

/** Nova's name of the base of swap disks of that size. */
export function swapKey(sizeMb: number): string {
  return `swap_${sizeMb}`;
}

export class CachePaths {
  readonly instances: string;
  readonly bases: string;
  readonly temporaries: string;
  readonly locks: string;
  /** Damaged bases that nothing stands on. */
  readonly quarantine: string;
  readonly pins: string;
  /** Stamps of each base's last use and last scrub. */
  readonly used: string;
  readonly scrubbed: string;

  constructor(instancesPath: string) {
    this.instances = instancesPath;
    this.bases = join(instancesPath, '_base');
    this.temporaries = join(this.bases, '.tmp');
    this.locks = join(instancesPath, 'locks');
    this.quarantine = join(this.bases, '.quarantine');
    this.pins = join(this.bases, '.pins');
    this.used = join(this.bases, '.used');
    this.scrubbed = join(this.bases, '.scrubbed');
  }

  base(key: string): string {
    return join(this.bases, key);
  }

  record(key: string): string {
    return join(this.bases, `${key}.json`);
  }

  lock(key: string): string {
    return join(this.locks, key);
  }

  temporary(key: string, step: 'download' | 'convert' | 'format'): string {
    return join(this.temporaries, `${key}.${step}.${randomBytes(6).toString('hex')}`);
  }
}
