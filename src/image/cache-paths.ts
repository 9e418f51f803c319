// Where the image cache keeps its files below the instances path.
import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { ComputeError } from '../driver/errors.js';

/** `<key>.<step>.<random>`: the lock of that key says whether someone still works on it. */
const TEMPORARY_NAME = /^([0-9a-f]{40}|ephemeral_\d+_[0-9a-f]{7}|swap_\d+)\.[a-z]+\.[0-9a-f]{12}$/;

/** The key of a temporary file's name; undefined for a name that is none of ours. */
export function keyOfTemporary(name: string): string | undefined {
  return TEMPORARY_NAME.exec(name)?.[1];
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

  constructor(instancesPath: string) {
    this.instances = instancesPath;
    this.bases = join(instancesPath, '_base');
    this.temporaries = join(this.bases, '.tmp');
    this.locks = join(instancesPath, 'locks');
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
