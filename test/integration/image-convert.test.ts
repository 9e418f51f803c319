// Random images of every kind QEMU writes, converted natively: bit by bit what was written, by the word of no tool.
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { native } from '../../src/native.js';
import { MIB, scratch } from './image-fixtures.js';

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

it(`converts ${IMAGES} random images exactly (seed ${SEED})`, {
  timeout: 30_000 + IMAGES * 2_000,
}, async () => {
  const random = randomNumbers(SEED);
  const directory = scratch();
  for (let n = 0; n < IMAGES; n += 1) {
    const options = randomOptions(random);
    const disk = Buffer.alloc(512 * (1 + random((6 * MIB) / 512)));
    const image = join(directory, 'image.qcow2');
    const words = options.words.join(',');
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', words, image, String(disk.length));
    const write = (): void => {
      const commands = randomWrites(random, disk, options).flatMap((command) => ['-c', command]);
      run('qemu-io', '-f', 'qcow2', ...commands, image);
    };
    write();
    // The active layer beside one of the past; a snapshot needs counts above 1.
    if (random(3) === 0 && !words.includes('refcount_bits=1,')) {
      run('qemu-img', 'snapshot', '-c', 'past', image);
      write();
    }
    let source = image;
    if (random(3) === 0) {
      source = join(directory, 'compressed.qcow2');
      run(
        'qemu-img',
        'convert',
        '-f',
        'qcow2',
        '-c',
        '-O',
        'qcow2',
        '-o',
        words.replace(',preallocation=metadata', ''),
        image,
        source,
      );
      // Compressed clusters and plain ones side by side.
      if (random(2) === 0) {
        const commands = randomWrites(random, disk, options).flatMap((command) => ['-c', command]);
        run('qemu-io', '-f', 'qcow2', ...commands, source);
      }
    }
    const target = join(directory, 'target.raw');
    const limits = { maxVirtualBytes: 2 ** 40, threads: random(5), sync: false };
    const { bytes } = await native().convertToRaw(source, target, limits, 0);
    const message = `image ${n} of seed ${SEED}: ${words}`;
    expect(bytes, message).toBe(disk.length);
    expect(readFileSync(target).equals(disk), message).toBe(true);
    for (const path of [image, source, target]) rmSync(path, { force: true });
  }
});

it('is fast over a disk of 8 TiB that is empty but for its ends, and takes no room for it', async () => {
  const directory = scratch();
  const image = join(directory, 'image.qcow2');
  const size = 8 * 2 ** 40;
  run('qemu-img', 'create', '-q', '-f', 'qcow2', image, String(size));
  run('qemu-io', '-f', 'qcow2', '-c', 'write -P 1 0 64k', '-c', `write -P 2 ${size - 65536} 64k`, image);
  const target = join(directory, 'target.raw');
  const limits = { maxVirtualBytes: 2 ** 50, threads: 0, sync: false };
  const { bytes, writtenBytes } = await native().convertToRaw(image, target, limits, 0);
  expect([bytes, writtenBytes]).toEqual([size, 131072]);
  expect(statSync(target).blocks * 512).toBeLessThan(MIB);
});
