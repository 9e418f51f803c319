// Random images and chains of every kind QEMU writes, converted, streamed and mapped natively: bit by bit what was
// written, by the word of no tool; and what we write is what QEMU reads.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import { convertImage } from '../../src/image/convert-image.js';
import { type DiskExtent, type ImageLayer, openDisk } from '../../src/image/disk.js';
import { MIB, scratch } from './fixtures.js';

/** NODE_COMPUTE_TEST_SEED repeats a run, NODE_COMPUTE_TEST_IMAGES makes it longer. */
const SEED = Number(process.env['NODE_COMPUTE_TEST_SEED'] ?? Date.now() % 2 ** 31);
const IMAGES = Number(process.env['NODE_COMPUTE_TEST_IMAGES'] ?? 40);

/** mulberry32: small, and the same everywhere. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

interface Options {
  readonly version2: boolean;
  readonly words: readonly string[];
}

function randomOptions(random: (below: number) => number): Options {
  const pick = <T>(values: readonly T[]): T => values[random(values.length)] as T;
  if (random(6) === 0)
    return { version2: true, words: [`compat=0.10,cluster_size=${pick(['512', '4k', '64k'])}`] };
  const extended = random(4) === 0;
  const cluster = pick(extended ? ['16k', '64k', '128k'] : ['512', '4k', '64k', '256k', '2M']);
  return {
    version2: false,
    words: [
      `cluster_size=${cluster},extended_l2=${extended ? 'on' : 'off'}`,
      `refcount_bits=${pick([1, 8, 16, 64])},lazy_refcounts=${pick(['on', 'off'])}`,
      `compression_type=${pick(['zlib', 'zstd'])}`,
      ...(random(4) === 0 ? ['preallocation=metadata'] : []),
    ],
  };
}

/** Commands for qemu-io, and what they make of a disk that was all zero. */
function randomWrites(random: (below: number) => number, disk: Buffer, options: Options): string[] {
  return Array.from({ length: 1 + random(24) }, () => {
    const bytes = Math.min(512 * (1 + random(random(2) === 0 ? 8 : 2048)), disk.length);
    const offset = 512 * random((disk.length - bytes) / 512 + 1);
    const pattern = 1 + random(255);
    switch (random(5)) {
      case 0:
        disk.fill(0, offset, offset + bytes);
        return `write -z ${random(2) === 0 ? '-u ' : ''}${offset} ${bytes}`;
      case 1:
        // Version 2 has no zero flag: what a discard leaves there is nobody's promise.
        if (options.version2) break;
        disk.fill(0, offset, offset + bytes);
        return `write -z ${offset} ${bytes}`;
      default:
    }
    disk.fill(pattern, offset, offset + bytes);
    return `write -P ${pattern} ${offset} ${bytes}`;
  });
}

const run = (program: string, ...words: string[]): void => {
  execFileSync(program, words, { stdio: ['ignore', 'ignore', 'pipe'] });
};

type Random = (below: number) => number;

/** Writes at random with qemu-io, to the image and to what is expected of it. */
function scribble(random: Random, image: string, disk: Buffer, options: Options): void {
  const commands = randomWrites(random, disk, options).flatMap((command) => ['-c', command]);
  run('qemu-io', '-f', 'qcow2', ...commands, image);
}

/** One image with all that QEMU may put into it. Gives its path. */
function randomImage(random: Random, directory: string, disk: Buffer): string {
  const options = randomOptions(random);
  const words = options.words.join(',');
  const image = join(directory, 'image.qcow2');
  run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', words, image, String(disk.length));
  scribble(random, image, disk, options);
  // The active layer beside one of the past; a snapshot needs counts above 1.
  if (random(3) === 0 && !words.includes('refcount_bits=1,')) {
    run('qemu-img', 'snapshot', '-c', 'past', image);
    scribble(random, image, disk, options);
  }
  if (random(3) !== 0) return image;
  const compressed = join(directory, 'compressed.qcow2');
  const again = words.replace(',preallocation=metadata', '');
  run('qemu-img', 'convert', '-f', 'qcow2', '-c', '-O', 'qcow2', '-o', again, image, compressed);
  // Compressed clusters and plain ones side by side.
  if (random(2) === 0) scribble(random, compressed, disk, options);
  return compressed;
}

/** Up to three overlays, each of its own size and options, over an image or a raw file. */
function randomDisk(random: Random, directory: string): { layers: ImageLayer[]; disk: Buffer } {
  let disk = Buffer.alloc(512 * (1 + random((6 * MIB) / 512)));
  const layers: ImageLayer[] = [];
  if (random(4) === 0) {
    const path = join(directory, 'base.raw');
    for (let n = random(4); n > 0; n -= 1) {
      const offset = random(disk.length);
      disk.fill(n, offset, Math.min(disk.length, offset + random(MIB)));
    }
    writeFileSync(path, disk);
    run('fallocate', '--dig-holes', path);
    layers.push({ path, format: 'raw' });
  } else {
    layers.push({ path: randomImage(random, directory, disk), format: 'qcow2' });
  }
  for (let n = random(2) === 0 ? 0 : 1 + random(3); n > 0; n -= 1) {
    const [below] = layers as [ImageLayer];
    const options = randomOptions(random);
    const path = join(directory, `overlay-${n}.qcow2`);
    const size = 512 * (1 + random((8 * MIB) / 512));
    // What an overlay cuts off does not come back above it.
    disk = Buffer.concat([disk.subarray(0, size)], size);
    const words = options.words.filter((word) => word !== 'preallocation=metadata').join(',');
    const backing = ['-b', below.path, '-F', below.format];
    run('qemu-img', 'create', '-q', '-f', 'qcow2', ...backing, '-o', words, path, String(size));
    scribble(random, path, disk, options);
    layers.unshift({ path, format: 'qcow2' });
  }
  return { layers, disk };
}

/** What QEMU reads from an image of ours, which it must also find without fault. */
function byQemu(image: string): Buffer {
  run('qemu-img', 'check', '-q', '-f', 'qcow2', image);
  const raw = `${image}.raw`;
  run('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', image, raw);
  const bytes = readFileSync(raw);
  rmSync(raw);
  return bytes;
}

async function all<T>(values: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const value of values) found.push(value);
  return found;
}

/** A disk with zeros wherever the map says so. */
function masked(disk: Buffer, extents: readonly DiskExtent[]): Buffer {
  const result = Buffer.alloc(disk.length);
  let position = 0;
  for (const { offset, bytes, kind } of extents) {
    expect(offset).toBe(position);
    position += bytes;
    if (kind === 'data' || kind === 'compressed') disk.copy(result, offset, offset, offset + bytes);
  }
  expect(position).toBe(disk.length);
  return result;
}

it(`is bit by bit what was written, for random disks in every form (seed ${SEED})`, {
  timeout: 30_000 + IMAGES * 4_000,
}, async () => {
  const random = randomNumbers(SEED);
  for (let n = 0; n < IMAGES; n += 1) {
    const directory = mkdtempSync(join(tmpdir(), 'node-compute-convert-'));
    try {
      const { layers, disk } = randomDisk(random, directory);
      const message = `disk ${n} of seed ${SEED}, ${layers.length} images`;

      const raw = join(directory, 'target.raw');
      const sync = false;
      const { virtualSizeBytes } = await convertImage(layers, raw, {
        format: 'raw',
        threads: random(5),
        sync,
      });
      expect(virtualSizeBytes, message).toBe(disk.length);
      expect(readFileSync(raw).equals(disk), message).toBe(true);

      const qcow2 = join(directory, 'target.qcow2');
      const compression = (['none', 'zlib', 'zstd'] as const)[random(3)];
      const clusterSizeBytes = 4096 << random(10);
      await convertImage(layers, qcow2, {
        format: 'qcow2',
        compression,
        clusterSizeBytes,
        threads: random(5),
        sync,
      });
      expect(byQemu(qcow2).equals(disk), `${message} to ${compression}, ${clusterSizeBytes}`).toBe(true);

      using open = await openDisk(layers);
      const offset = random(disk.length);
      const bytes = random(disk.length - offset + 1);
      const part = await open.read(offset, bytes);
      expect(part.equals(disk.subarray(offset, offset + bytes)), message).toBe(true);
      expect(masked(disk, await all(open.extents())).equals(disk), message).toBe(true);

      const stream = await open.stream({ format: random(2) === 0 ? 'raw' : 'qcow2' });
      const streamed = await buffer(stream.body);
      expect(streamed.length, message).toBe(stream.sizeBytes);
      if (streamed.readUInt32BE(0) !== 0x514649fb) {
        expect(streamed.equals(disk), message).toBe(true);
      } else {
        const image = join(directory, 'streamed.qcow2');
        writeFileSync(image, streamed);
        expect(byQemu(image).equals(disk), message).toBe(true);
      }
    } finally {
      rmSync(directory, { recursive: true });
    }
  }
});

it('is fast over a disk of 8 TiB that is empty but for its ends, and takes no room for it', async () => {
  const directory = scratch();
  const image = join(directory, 'image.qcow2');
  const size = 8 * 2 ** 40;
  run('qemu-img', 'create', '-q', '-f', 'qcow2', image, String(size));
  run('qemu-io', '-f', 'qcow2', '-c', 'write -P 1 0 64k', '-c', `write -P 2 ${size - 65536} 64k`, image);
  const layers = [{ path: image, format: 'qcow2' as const }];
  const raw = join(directory, 'target.raw');
  expect(await convertImage(layers, raw, { format: 'raw', sync: false })).toEqual({
    virtualSizeBytes: size,
    writtenBytes: 131072,
  });
  expect(statSync(raw).blocks * 512).toBeLessThan(MIB);
  const qcow2 = join(directory, 'target.qcow2');
  await convertImage(layers, qcow2, { format: 'qcow2', compression: 'zstd', sync: false });
  expect(statSync(qcow2).size).toBeLessThan(MIB);
  using disk = await openDisk(layers);
  expect(await all(disk.extents())).toMatchObject([
    { offset: 0, bytes: 65536, kind: 'data', layer: 0 },
    { offset: 65536, bytes: size - 131072, kind: 'hole' },
    { offset: size - 65536, bytes: 65536, kind: 'data' },
  ]);
  expect((await disk.stream({ format: 'qcow2' })).sizeBytes).toBeLessThan(MIB);
});
