// The addon's image functions against QEMU's own tools: what we write QEMU finds right, what it writes we accept.
import { execFileSync } from 'node:child_process';
import { copyFileSync, rmSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { type NativeAddon, type NativeImageVerdict, native } from '../../src/native.js';
import { diskBytes, MIB, read, scratch, writeQcow2, writeRaw } from './fixtures.js';

const GIB = 2 ** 30;
const ANY_SIZE = 2 ** 50;
const KIB = 1024;

let addon: NativeAddon;

beforeAll(() => {
  addon = native();
});

function qemu(program: 'qemu-img' | 'qemu-io', ...args: string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** What qemu-img says of a qcow2 image, without what belongs to the file alone. */
function qemuInfo(path: string): Record<string, unknown> {
  const facts = JSON.parse(qemu('qemu-img', 'info', '--output=json', '-f', 'qcow2', path));
  for (const own of ['filename', 'actual-size', 'children']) delete facts[own];
  return facts;
}

/** qemu-io ends with status 0 whatever the pattern check says. */
function patternsHold(path: string, reads: readonly string[]): boolean {
  const answer = qemu('qemu-io', '-r', '-f', 'qcow2', ...reads.flatMap((read) => ['-c', read]), path);
  return !answer.includes('Pattern verification failed');
}

describe('an overlay', () => {
  const sizes = [512, 4 * KIB, 64 * KIB, 2 * MIB].flatMap((cluster) =>
    [8 * MIB, 8 * MIB + 512, GIB, 1024 * GIB].map((size) => [cluster, size] as const),
  );
  it.each(sizes.filter(([cluster, size]) => cluster > 512 || size <= GIB))(
    'with clusters of %i bytes for %i bytes is to QEMU what qemu-img makes',
    async (clusterSizeBytes, virtualSizeBytes) => {
      const directory = scratch();
      const base = writeRaw(directory, diskBytes());
      const ours = join(directory, 'ours');
      const theirs = join(directory, 'theirs');
      await addon.createQcow2(
        ours,
        { backing: { path: base, format: 'raw' }, virtualSizeBytes, clusterSizeBytes, compression: 'zlib' },
        0,
      );
      const options = ['-b', base, '-F', 'raw', '-o', `cluster_size=${clusterSizeBytes}`];
      qemu('qemu-img', 'create', '-q', '-f', 'qcow2', ...options, theirs, String(virtualSizeBytes));

      expect(qemuInfo(ours)).toEqual(qemuInfo(theirs));
      qemu('qemu-img', 'check', '-f', 'qcow2', ours);

      // Writes allocate L2 tables and refcount blocks right behind what was written here.
      const last = virtualSizeBytes - 512;
      for (const path of [ours, theirs]) {
        qemu('qemu-io', '-f', 'qcow2', '-c', 'write -P 1 1M 1M', '-c', `write -P 2 ${last} 512`, path);
      }
      qemu('qemu-img', 'check', '-f', 'qcow2', ours);
      if (virtualSizeBytes <= GIB) qemu('qemu-img', 'compare', '-f', 'qcow2', '-F', 'qcow2', ours, theirs);
    },
  );

  it('on a qcow2 base reads through it', async () => {
    const directory = scratch();
    const bytes = diskBytes(3);
    const base = writeQcow2(directory, bytes);
    const disk = join(directory, 'disk');
    const virtualSizeBytes = 16 * MIB;
    await addon.createQcow2(
      disk,
      {
        backing: { path: base, format: 'qcow2' },
        virtualSizeBytes,
        clusterSizeBytes: 64 * KIB,
        compression: 'zlib',
      },
      0,
    );
    const copy = join(directory, 'copy.raw');
    qemu('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', disk, copy);
    expect(read(copy).equals(Buffer.concat([bytes, Buffer.alloc(8 * MIB)]))).toBe(true);
  });

  it('that QEMU would refuse as too large is an invalid argument, and makes no file', async () => {
    const directory = scratch();
    const path = join(directory, 'disk');
    const size = 10 * 1024 * GIB;
    expect(() =>
      qemu(
        'qemu-img',
        'create',
        '-q',
        '-f',
        'qcow2',
        '-o',
        'cluster_size=4k',
        join(directory, 'theirs'),
        String(size),
      ),
    ).toThrow();
    const options = {
      backing: { path: '/b', format: 'raw' },
      virtualSizeBytes: size,
      clusterSizeBytes: 4096,
      compression: 'zlib',
    } as const;
    await expect(addon.createQcow2(path, options, 0)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await expect(addon.statFile(path, 0)).resolves.toBeUndefined();
  });
});

describe('an empty qcow2', () => {
  const sizes = [512, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048].map((n, i) => (i ? n * KIB : n));
  it.each(sizes.flatMap((size) => (['zlib', 'zstd'] as const).map((type) => [size, type] as const)))(
    'with clusters of %i bytes and %s is to QEMU what qemu-img makes',
    async (clusterSizeBytes, compression) => {
      const directory = scratch();
      const ours = join(directory, 'ours');
      const theirs = join(directory, 'theirs');
      const virtualSizeBytes = clusterSizeBytes > KIB ? 200 * GIB : GIB;
      await addon.createQcow2(ours, { virtualSizeBytes, clusterSizeBytes, compression }, 0);
      const options = `cluster_size=${clusterSizeBytes},compression_type=${compression}`;
      qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', options, theirs, String(virtualSizeBytes));
      expect(qemuInfo(ours)).toEqual(qemuInfo(theirs));
      qemu('qemu-img', 'check', '-q', '-f', 'qcow2', ours);
      const last = virtualSizeBytes - 512;
      const writes = [`write -P 1 1M 1M`, `write -c -P 3 8M ${Math.max(clusterSizeBytes, 64 * KIB)}`];
      for (const path of [ours, theirs]) {
        for (const write of [...writes, `write -P 2 ${last} 512`]) {
          qemu('qemu-io', '-f', 'qcow2', '-c', write, path);
        }
      }
      expect(patternsHold(ours, ['read -P 0 0 1M', 'read -P 1 1M 1M', 'read -P 3 8M 64k'])).toBe(true);
      expect(patternsHold(ours, [`read -P 2 ${last} 512`, `read -P 0 ${last - 512} 512`])).toBe(true);
      qemu('qemu-img', 'check', '-q', '-f', 'qcow2', ours);
      qemu('qemu-img', 'compare', '-q', '-f', 'qcow2', '-F', 'qcow2', ours, theirs);
    },
  );
});

describe('the validator accepts all that QEMU writes', () => {
  const clusters = ['512', '1k', '4k', '64k', '2M'];
  const written: readonly (readonly [string, readonly string[]])[] = [
    ...clusters.flatMap((size) => [
      [`clusters of ${size}`, ['-o', `cluster_size=${size}`]] as const,
      [`zlib, clusters of ${size}`, ['-c', '-o', `cluster_size=${size}`]] as const,
      [`zstd, clusters of ${size}`, ['-c', '-o', `cluster_size=${size},compression_type=zstd`]] as const,
      [`version 2, clusters of ${size}`, ['-o', `compat=0.10,cluster_size=${size}`]] as const,
    ]),
    ...['1', '2', '4', '8', '32', '64'].map(
      (bits) => [`refcounts of ${bits} bits`, ['-o', `refcount_bits=${bits}`]] as const,
    ),
    ...['16k', '64k', '2M'].flatMap((size) => [
      [`extended L2, ${size}`, ['-o', `extended_l2=on,cluster_size=${size}`]] as const,
      [`extended L2, ${size}, zlib`, ['-c', '-o', `extended_l2=on,cluster_size=${size}`]] as const,
    ]),
    ...['metadata', 'falloc', 'full'].map(
      (how) => [`preallocation ${how}`, ['-o', `preallocation=${how}`]] as const,
    ),
    ['out of order', ['-c', '-W', '-m', '8']],
    ['lazy refcounts', ['-o', 'lazy_refcounts=on']],
  ];
  it.each(written)('%s', async (_name, options) => {
    const path = writeQcow2(scratch(), diskBytes(), options);
    const verdict = await addon.inspectImage(path, 'qcow2', ANY_SIZE, 0);
    expect(verdict).toMatchObject({ format: 'qcow2', virtualSizeBytes: 8 * MIB, dirty: false });
    expectBound(verdict, path);
  });

  const changes: readonly (readonly [string, (path: string) => void])[] = [
    [
      'snapshots, written to between them',
      (path) => {
        for (const name of ['a', 'b', 'c']) {
          qemu('qemu-img', 'snapshot', '-c', name, path);
          qemu(
            'qemu-io',
            '-f',
            'qcow2',
            '-c',
            'write -P 3 0 1M',
            '-c',
            'write -z 3M 1M',
            '-c',
            'discard 4M 512k',
            path,
          );
        }
        qemu('qemu-img', 'snapshot', '-d', 'b', path);
      },
    ],
    [
      'bitmaps',
      (path) => {
        qemu('qemu-img', 'bitmap', '--add', path, 'b0');
        qemu('qemu-img', 'bitmap', '--add', '-g', '4k', path, 'b1');
        qemu('qemu-io', '-f', 'qcow2', '-c', 'write -P 3 0 1M', path);
      },
    ],
    ['grown', (path) => void qemu('qemu-img', 'resize', '-q', '-f', 'qcow2', path, '10T')],
    ['shrunk', (path) => void qemu('qemu-img', 'resize', '-q', '-f', 'qcow2', '--shrink', path, '4M')],
    [
      'amended to version 2',
      (path) => void qemu('qemu-img', 'amend', '-f', 'qcow2', '-o', 'compat=0.10', path),
    ],
    [
      'amended to other refcounts',
      (path) => void qemu('qemu-img', 'amend', '-f', 'qcow2', '-o', 'refcount_bits=64', path),
    ],
  ];
  it.each(changes)('%s', async (_name, change) => {
    const path = writeQcow2(scratch(), diskBytes());
    change(path);
    const verdict = await addon.inspectImage(path, 'qcow2', ANY_SIZE, 0);
    expect(verdict.libqcow).toBeDefined();
    expectBound(verdict, path);
  });

  it.each(['1049088', '1000448', '67109376'])('an unaligned size (%s)', async (size) => {
    for (const preallocation of ['off', 'metadata', 'full']) {
      const path = join(scratch(), 'image');
      qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', `preallocation=${preallocation}`, path, size);
      qemu('qemu-io', '-f', 'qcow2', '-c', `write -P 1 ${Number(size) - 512} 512`, path);
      const verdict = await addon.inspectImage(path, 'qcow2', ANY_SIZE, 0);
      expect(verdict.virtualSizeBytes).toBe(Number(size));
    }
  });

  /** The promise of `dataBytes`: a sparse copy takes no more. */
  function expectBound(verdict: NativeImageVerdict, path: string): void {
    if (verdict.virtualSizeBytes > GIB) return;
    const copy = join(scratch(), 'copy.raw');
    qemu('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', path, copy);
    const [blocks, unit] = execFileSync('stat', ['-c', '%b %B', copy], { encoding: 'utf8' })
      .split(' ')
      .map(Number);
    expect((blocks ?? 0) * (unit ?? 0)).toBeLessThanOrEqual(verdict.dataBytes + 64 * KIB);
  }
});

describe('the validator refuses a cut file', () => {
  it('wherever it is cut, though qemu-img would convert some of them', async () => {
    const directory = scratch();
    const whole = writeQcow2(directory, diskBytes());
    const length = read(whole).length;
    const path = join(directory, 'cut');
    for (let i = 0; i < 40; i++) {
      rmSync(path, { force: true });
      copyFileSync(whole, path);
      truncateSync(path, Math.floor((length * i) / 40));
      await expect(addon.inspectImage(path, 'qcow2', ANY_SIZE, 0)).rejects.toMatchObject({
        code: 'IMAGE_INVALID',
      });
    }
  });
});

describe('arguments of the seam', () => {
  it('of a wrong kind are refused, not guessed', async () => {
    const wrong: readonly (() => Promise<unknown>)[] = [
      () => addon.inspectImage('/a\0b', 'raw', ANY_SIZE, 0),
      () => addon.inspectImage('/a', 'raw', -1, 0),
      () => addon.inspectImage('/a', 'raw', Number.NaN, 0),
      () => addon.copyFile('/a', '/b', { digest: '', maxBytes: 1.5, sync: true }, 0),
      () => addon.copyFile('/a', '/b', { digest: 'crc' as '', maxBytes: 1, sync: true }, 0),
      () => addon.copyFile('/a', '/b', { digest: '', maxBytes: 1 } as never, 0),
      () => addon.createQcow2('/a', undefined as never, 0),
      () =>
        addon.createQcow2(
          '/a',
          { virtualSizeBytes: 512, clusterSizeBytes: 4096, compression: 'lzma' as 'zlib' },
          0,
        ),
      () => addon.digestFile(7 as never, 'md5', 0),
      () => addon.sealFile('/a', 1, -1, 0),
    ];
    for (const call of wrong) await expect(call()).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('of a sink must be bytes, which may change while they are written', async () => {
    const path = join(scratch(), 'sink');
    const sink = await addon.openFileSink(
      path,
      { digest: '', maxBytes: 100, sync: false, expectedBytes: 0 },
      0,
    );
    await expect(sink.write('text' as never, 0)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await expect(sink.write(new Uint16Array(1) as never, 0)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    const chunk = Buffer.from('as given');
    const written = sink.write(chunk, 0);
    chunk.fill(0);
    await written;
    expect(await sink.finish(0)).toEqual({ bytes: 8, digest: '' });
    expect(read(path).toString()).toBe('as given');
  });
});
