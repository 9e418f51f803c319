// Images with known bytes, scratch directories and a local image server for the tests of the cache.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { ImageMeta } from '../../src/driver/model.js';
import { ImageCache } from '../../src/image/image-cache.js';
import type { ImageCacheOptions, InstanceDisk } from '../../src/image/types.js';

export const MIB = 2 ** 20;

export function scratch(name = 'images'): string {
  const path = mkdtempSync(join(tmpdir(), `node-compute-${name}-`));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export interface CacheFixture {
  readonly cache: ImageCache;
  readonly instances: string;
  /** Names in `_base`, without the directories. */
  bases(): string[];
  temporaries(): string[];
}

export function openCache(options: Partial<ImageCacheOptions> = {}): CacheFixture {
  const instances = options.instancesPath ?? join(scratch(), 'instances');
  const list = (path: string): string[] => {
    try {
      return readdirSync(path);
    } catch {
      return [];
    }
  };
  const cache = new ImageCache({ reservedBytes: MIB, ...options, instancesPath: instances });
  // Before the file system goes, which work in the background may be at.
  onTestFinished(() => cache.close());
  return {
    cache,
    instances,
    bases: () => list(join(instances, '_base')).filter((name) => !name.startsWith('.')),
    temporaries: () => list(join(instances, '_base/.tmp')),
  };
}

/** Bytes that no compressor and no zero detection removes, the same in every run. */
export function noise(bytes: number, seed = 1): Buffer {
  const blocks: Buffer[] = [];
  for (let i = 0; i * 64 < bytes; i++) {
    blocks.push(createHash('sha512').update(`${seed}:${i}`).digest());
  }
  return Buffer.concat(blocks).subarray(0, bytes);
}

/** A disk of 8 MiB: noise, a hole, text, a hole. */
export function diskBytes(seed = 1): Buffer {
  const disk = Buffer.alloc(8 * MIB);
  noise(MIB, seed).copy(disk, 0);
  disk.fill(`disk ${seed} `, 3 * MIB, 5 * MIB);
  return disk;
}

export function writeRaw(directory: string, bytes: Buffer, name = 'image.raw'): string {
  const path = join(directory, name);
  writeFileSync(path, bytes);
  return path;
}

/** Made by qemu-img from those bytes, with any options of its own. */
export function writeQcow2(directory: string, bytes: Buffer, options: readonly string[] = []): string {
  const raw = writeRaw(directory, bytes, 'source.raw');
  const path = join(directory, 'image.qcow2');
  execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', ...options, raw, path]);
  rmSync(raw);
  return path;
}

/**
 * An image that is encrypted by LUKS, made by qemu-img from those bytes; `options` as for its `-o`. It takes seconds, since
 * qemu-img measures how long a key takes to derive; where the kernel counts CPU time in ticks it may find that it takes none and
 * give up: then it is asked again.
 */
export function writeLuks(
  directory: string,
  format: 'qcow2' | 'luks',
  bytes: Buffer,
  secret: string,
  options = '',
): string {
  const raw = writeRaw(directory, bytes, 'source.raw');
  const path = join(directory, `image.${format}`);
  const keys = format === 'qcow2' ? 'encrypt.format=luks,encrypt.key-secret=s,encrypt.' : 'key-secret=s,';
  writeFileSync(join(directory, 'secret'), secret);
  const make = (): string =>
    spawnSync(
      'qemu-img',
      [
        ...[
          'convert',
          '-f',
          'raw',
          '-O',
          format,
          '--object',
          `secret,id=s,file=${join(directory, 'secret')}`,
        ],
        ...['-o', `${keys}iter-time=10${options}`, raw, path],
      ],
      { encoding: 'utf8' },
    ).stderr;
  let problem = make();
  for (let tries = 1; problem.includes('accurate CPU usage') && tries < 100; tries++) problem = make();
  if (problem !== '') throw new Error(problem);
  rmSync(raw);
  return path;
}

export function digest(bytes: Buffer, algorithm: 'md5' | 'sha256' | 'sha512' = 'sha256'): string {
  return createHash(algorithm).update(bytes).digest('hex');
}

export function fileImage(
  path: string,
  diskFormat: ImageMeta['diskFormat'],
  more: Partial<ImageMeta> = {},
): ImageMeta {
  return { id: path, diskFormat, source: { type: 'file', path }, properties: {}, ...more };
}

export function httpImage(
  url: string,
  diskFormat: ImageMeta['diskFormat'],
  more: Partial<ImageMeta> = {},
): ImageMeta {
  return { id: url, diskFormat, source: { type: 'http', url }, properties: {}, ...more };
}

export interface ImageServer {
  readonly url: string;
  readonly requests: string[];
}

/** On 127.0.0.1; ends with the test, open connections included. */
export async function serve(listener: RequestListener): Promise<ImageServer> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    response.on('error', () => undefined);
    listener(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}

export function instanceDirectory(instances: string, name = 'instance-a'): string {
  const path = join(instances, name);
  mkdirSync(path, { recursive: true, mode: 0o700 });
  return path;
}

/** Of an overlay; a raw copy has none. */
export function holdOf({ baseLink }: InstanceDisk): string {
  if (baseLink === undefined) throw new Error('the disk holds no base');
  return baseLink;
}

export function read(path: string): Buffer {
  return readFileSync(path);
}

/** Polls until it holds; the deadline is the test's own. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10));
}

/** A file system of that many KiB; undefined where this user may not mount one. */
export function smallFileSystem(kib: number): string | undefined {
  const path = scratch('small');
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${kib}k`, 'tmpfs', path]);
  if (status !== 0) return undefined;
  // The kernel lets go of a closed file a moment later where a child was being forked as it was closed.
  onTestFinished(() => until(() => spawnSync('umount', [path]).status === 0));
  return path;
}

/** What a guest sees of a disk of that format, its backing files included. */
export function guestBytes(path: string, format: 'raw' | 'qcow2'): Buffer {
  if (format === 'raw') return read(path);
  const copy = join(scratch(), 'guest.raw');
  execFileSync('qemu-img', ['convert', '-f', format, '-O', 'raw', path, copy]);
  return read(copy);
}
