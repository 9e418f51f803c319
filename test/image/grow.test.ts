// Growing an image in place, beside qemu-img resize, and with QEMU's programs at the image at the same time.
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { copyFileSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type NativeAddon, type NativeLayer, native } from '../../src/native.js';
import { diskBytes, MIB, scratch, writeQcow2, writeRaw } from './fixtures.js';

const KIB = 1024;
const GIB = 2 ** 30;

let addon: NativeAddon;

beforeAll(() => {
  addon = native();
});

function qemu(program: 'qemu-img' | 'qemu-io', ...args: string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function io(path: string, ...commands: string[]): string {
  return qemu('qemu-io', '-f', 'qcow2', ...commands.flatMap((command) => ['-c', command]), path);
}

/** mulberry32: the seed is in the name of the test that fails. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return Math.floor((((value ^ (value >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

interface Case {
  readonly options: string;
  readonly size: number;
  readonly newSize: number;
  readonly overlay: boolean;
  readonly baseBytes: number;
  readonly snapshots: boolean;
}

function makeCase(seed: number): Case {
  const random = generator(seed);
  const pick = <T>(values: readonly T[]): T => values[random(values.length)] as T;
  const clusterBits = 9 + random(13);
  const version2 = random(4) === 0;
  const extended = !version2 && clusterBits >= 14 && random(4) === 0;
  const options = [
    `cluster_size=${2 ** clusterBits}`,
    ...(version2 ? ['compat=0.10'] : [`refcount_bits=${pick([1, 2, 4, 8, 16, 32, 64])}`]),
    ...(extended ? ['extended_l2=on'] : []),
    ...(!version2 && random(4) === 0 ? ['compression_type=zstd'] : []),
  ];
  const snapshots = !version2 && !options.includes('refcount_bits=1') && random(3) === 0;
  const size = MIB + random(16 * 2048) * 512;
  const most = clusterBits < 11 ? 4 * GIB : clusterBits < 16 ? 200 * GIB : 10 * 1024 * GIB;
  const overlay = random(2) === 0;
  // Version 2 cannot hide the rest of a longer base.
  const baseBytes = version2 ? MIB : pick([MIB, size + random(8 * 2048) * 512]);
  const near = [size + 512, size + random(64 * 2048) * 512];
  // Over a longer base qemu-img resize goes through the new disk cluster by cluster.
  const slow = overlay && baseBytes > size && clusterBits < 14;
  const newSize = pick(slow ? near : [...near, GIB + random(2 ** 21) * 512, Math.floor(most / 512) * 512]);
  return { options: options.join(','), size, newSize, overlay, baseBytes, snapshots };
}

function makeImage(path: string, base: string, { options, size, overlay, snapshots }: Case): void {
  const backing = overlay ? ['-b', base, '-F', 'raw'] : [];
  qemu('qemu-img', 'create', '-q', '-f', 'qcow2', ...backing, '-o', options, path, String(size));
  io(path, 'write -P 1 4k 100k', 'write -P 2 600k 64k', 'write -z 300k 64k', `write -P 3 ${size - 512} 512`);
  if (!snapshots) return;
  qemu('qemu-img', 'snapshot', '-c', 'first', path);
  io(path, 'write -P 4 8k 8k');
}

function layersOf(path: string, base?: string): NativeLayer[] {
  const top = { path, format: 'qcow2' as const };
  return base === undefined ? [top] : [top, { path: base, format: 'raw' }];
}

const seeds = Array.from({ length: 12 }, () => Math.floor(Math.random() * 2 ** 31));

describe('growing', () => {
  it.each(seeds.map((seed) => [seed, makeCase(seed)] as const))(
    'is to QEMU what qemu-img resize does (seed %i, %j)',
    async (_seed, given) => {
      const directory = scratch();
      const base = writeRaw(directory, Buffer.alloc(given.baseBytes, 9));
      const ours = join(directory, 'ours');
      const theirs = join(directory, 'theirs');
      makeImage(ours, base, given);
      copyFileSync(ours, theirs);
      const { size, newSize } = given;
      expect(await addon.growImage(layersOf(ours, given.overlay ? base : undefined), newSize, 0)).toEqual({
        oldVirtualSizeBytes: size,
        virtualSizeBytes: newSize,
      });
      qemu('qemu-img', 'resize', '-q', '-f', 'qcow2', theirs, String(newSize));

      qemu('qemu-img', 'check', '-q', '-f', 'qcow2', ours);
      const facts = (path: string): Record<string, unknown> => {
        const info = JSON.parse(qemu('qemu-img', 'info', '--output=json', '-f', 'qcow2', path));
        for (const own of ['filename', 'actual-size']) delete info[own];
        return info;
      };
      const info = facts(ours);
      expect(info).toEqual(facts(theirs));
      expect(info['virtual-size']).toBe(newSize);
      const compare = (): string =>
        qemu('qemu-img', 'compare', '-q', '-f', 'qcow2', '-F', 'qcow2', ours, theirs);
      // QEMU goes through the disk cluster by cluster: what has many of them takes minutes.
      const comparable = newSize / (info['cluster-size'] as number) <= 2 ** 17;
      if (comparable) compare();
      const middle = size + 512 * Math.floor((newSize - size) / 1024);
      for (const path of [ours, theirs]) {
        io(path, `write -P 5 ${newSize - 512} 512`, `write -P 6 ${Math.min(middle, newSize - 512)} 512`);
      }
      qemu('qemu-img', 'check', '-q', '-f', 'qcow2', ours);
      if (comparable) compare();
      if (given.snapshots && comparable) {
        for (const path of [ours, theirs]) qemu('qemu-img', 'snapshot', '-a', 'first', path);
        qemu('qemu-img', 'check', '-q', '-f', 'qcow2', ours);
        if (facts(ours)['virtual-size'] === size) compare();
      }
    },
  );

  it('reads zeros behind a shorter base, in each cluster of the disk that is new', async () => {
    const directory = scratch();
    const base = writeRaw(directory, Buffer.alloc(MIB + 512, 9));
    const disk = join(directory, 'disk');
    qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', base, '-F', 'raw', disk);
    await addon.growImage(layersOf(disk, base), 4 * MIB, 0);
    const raw = join(directory, 'copy');
    qemu('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', disk, raw);
    expect(readFileSync(raw).equals(Buffer.concat([readFileSync(base), Buffer.alloc(3 * MIB - 512)]))).toBe(
      true,
    );
  });

  it.each([
    ['in the middle of a cluster', 3 * MIB + 512, 'cluster_size=16k'],
    ['between clusters', 3 * MIB, 'cluster_size=16k'],
    ['in a subcluster', 3 * MIB + 512, 'cluster_size=16k,extended_l2=on'],
  ] as const)('reads zeros over a longer base, of which the disk ends %s', async (_name, size, options) => {
    const directory = scratch();
    const base = writeQcow2(directory, Buffer.alloc(40 * MIB, 9), ['-c']);
    const ours = join(directory, 'ours');
    const theirs = join(directory, 'theirs');
    qemu(
      ...(['qemu-img', 'create', '-q', '-f', 'qcow2'] as const),
      ...['-b', base, '-F', 'qcow2', '-o', options, ours, String(size)],
    );
    // The L2 table becomes the snapshot's as well.
    io(ours, 'write -P 1 1M 64k');
    qemu('qemu-img', 'snapshot', '-c', 'first', ours);
    copyFileSync(ours, theirs);
    const layers = [...layersOf(ours), { path: base, format: 'qcow2' as const }];
    await addon.growImage(layers, 64 * MIB, 0);
    qemu('qemu-img', 'resize', '-q', '-f', 'qcow2', theirs, '64M');
    for (const path of [ours, theirs]) qemu('qemu-img', 'check', '-q', '-f', 'qcow2', path);
    qemu('qemu-img', 'compare', '-q', '-f', 'qcow2', '-F', 'qcow2', ours, theirs);
    for (const path of [ours, theirs]) qemu('qemu-img', 'snapshot', '-a', 'first', path);
    qemu('qemu-img', 'check', '-q', '-f', 'qcow2', ours);
    qemu('qemu-img', 'compare', '-q', '-f', 'qcow2', '-F', 'qcow2', ours, theirs);
  });

  it('of an old version is refused over a longer base, as by qemu-img', async () => {
    const directory = scratch();
    const base = writeRaw(directory, Buffer.alloc(MIB, 9));
    const path = join(directory, 'disk');
    const options = ['-b', base, '-F', 'raw', '-o', 'compat=0.10'];
    qemu('qemu-img', 'create', '-q', '-f', 'qcow2', ...options, path, '512K');
    const before = readFileSync(path);
    await expect(addon.growImage(layersOf(path, base), 4 * MIB, 0)).rejects.toMatchObject({
      rule: 'backing-file',
    });
    expect(readFileSync(path).equals(before)).toBe(true);
    expect(spawnSync('qemu-img', ['resize', '-q', '-f', 'qcow2', path, '4M']).status).toBe(1);
  });

  it('refuses what qemu-img resize refuses, and what it would have to repair, without a change', async () => {
    const directory = scratch();
    const refused = async (name: string, rule: string, options: string[], change: (path: string) => void) => {
      const path = join(directory, name);
      qemu('qemu-img', 'create', '-q', '-f', 'qcow2', ...options, path, '8M');
      change(path);
      const before = readFileSync(path);
      await expect(addon.growImage(layersOf(path), GIB, 0), name).rejects.toMatchObject({
        code: 'IMAGE_INVALID',
        rule,
      });
      expect(readFileSync(path).equals(before), name).toBe(true);
    };
    const v2 = ['-o', 'compat=0.10'];
    await refused('v2', 'snapshots', v2, (path) => void qemu('qemu-img', 'snapshot', '-c', 'a', path));
    await refused('bitmaps', 'bitmaps', [], (path) => void qemu('qemu-img', 'bitmap', '--add', path, 'b'));
    await refused('dirty', 'dirty', ['-o', 'lazy_refcounts=on'], (path) => {
      spawnSync('qemu-io', ['-f', 'qcow2', '-c', 'write 0 1M', '-c', 'abort', path], { stdio: 'ignore' });
    });
    const data = ['-o', `data_file=${join(directory, 'data')}`];
    await refused('data-file', 'data-file', data, () => undefined);
  });

  it('grows a raw disk by a hole', async () => {
    const path = writeRaw(scratch(), diskBytes());
    await addon.growImage([{ path: path, format: 'raw' }], GIB, 0);
    expect(statSync(path).size).toBe(GIB);
    expect(statSync(path).blocks * 512).toBeLessThanOrEqual(9 * MIB);
    expect(
      readFileSync(path)
        .subarray(0, 8 * MIB)
        .equals(diskBytes()),
    ).toBe(true);
    await expect(addon.growImage([{ path: path, format: 'raw' }], MIB, 0)).rejects.toMatchObject({
      rule: 'shrink',
    });
  });
});

/** Until the program has said the words; it ends with the test. */
async function hold(command: string, args: readonly string[], words: string): Promise<ChildProcess> {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  let said = '';
  await new Promise<void>((resolve, reject) => {
    const listen = (data: Buffer): void => {
      said += data.toString();
      if (said.includes(words)) resolve();
    };
    child.stdout?.on('data', listen);
    child.stderr?.on('data', listen);
    child.on('exit', () => reject(new Error(`${command} ended: ${said}`)));
  });
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}

describe('an image that is open', () => {
  const qmp = 'QMP';
  const holders: readonly (readonly [string, string, (path: string) => readonly string[], string])[] = [
    ['qemu-io writing', 'qemu-io', (path) => ['-f', 'qcow2', path], 'qemu-io>'],
    ['qemu-io reading', 'qemu-io', (path) => ['-r', '-f', 'qcow2', path], 'qemu-io>'],
    [
      'a virtual machine',
      'qemu-system-x86_64',
      (path) => [
        ...['-S', '-display', 'none', '-nodefaults', '-machine', 'q35,accel=tcg', '-m', '32'],
        ...['-qmp', 'stdio', '-drive', `if=virtio,format=qcow2,file=${path}`],
      ],
      qmp,
    ],
    [
      'qemu-storage-daemon, to write',
      'qemu-storage-daemon',
      (path) => [
        ...['--blockdev', `driver=file,node-name=f,filename=${path}`],
        ...['--blockdev', 'driver=qcow2,node-name=q,file=f'],
        ...['--nbd-server', `addr.type=unix,addr.path=${path}.sock`],
        ...['--export', 'type=nbd,id=e,node-name=q,writable=on'],
        ...['--chardev', 'stdio,id=c', '--monitor', 'chardev=c'],
      ],
      qmp,
    ],
  ];
  it.each(holders)('in %s is refused, and grows once that is gone', async (_name, command, args, words) => {
    const path = writeQcow2(scratch(), diskBytes());
    const holder = await hold(command, args(path), words);
    const before = readFileSync(path);
    await expect(addon.growImage(layersOf(path), GIB, 0)).rejects.toMatchObject({
      code: 'IMAGE_INVALID',
      rule: 'in-use',
    });
    expect(readFileSync(path).equals(before)).toBe(true);
    await end(holder);
    await addon.growImage(layersOf(path), GIB, 0);
    qemu('qemu-img', 'check', '-q', '-f', 'qcow2', path);
  });

  it('as the base of a running overlay is refused too', async () => {
    const directory = scratch();
    const base = writeQcow2(directory, diskBytes());
    const disk = join(directory, 'disk');
    qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', base, '-F', 'qcow2', disk);
    await hold('qemu-io', ['-f', 'qcow2', disk], 'qemu-io>');
    await expect(addon.growImage(layersOf(base), GIB, 0)).rejects.toMatchObject({ rule: 'in-use' });
  });

  /** The same locks as the edit takes, held by a program for as long as it takes to look. */
  it('in an edit of ours is refused by QEMU and its tools', async () => {
    const path = writeQcow2(scratch(), diskBytes());
    const locker = `
import fcntl, os, struct, sys, time
file = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(file, 37, struct.pack('hhqqi4x', fcntl.F_WRLCK, os.SEEK_SET, 100, 200, 0))
print('locked', flush=True)
time.sleep(60)
`;
    const holder = await hold('python3', ['-c', locker, path], 'locked');
    for (const [command, ...args] of [
      ['qemu-img', 'info', '-f', 'qcow2', path],
      ['qemu-img', 'check', '-f', 'qcow2', path],
      ['qemu-img', 'resize', '-f', 'qcow2', path, '1G'],
      ['qemu-io', '-f', 'qcow2', '-c', 'write 0 512', path],
    ] as const) {
      const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' });
      expect(status, args.join(' ')).toBe(1);
      expect(stderr).toMatch(/lock/);
    }
    await expect(addon.growImage(layersOf(path), GIB, 0)).rejects.toMatchObject({ rule: 'in-use' });
    await end(holder);
    await addon.growImage(layersOf(path), GIB, 0);
    qemu('qemu-img', 'check', '-q', '-f', 'qcow2', path);
  });

  it('is not touched by two growths at once: one waits for nothing and says so', async () => {
    const path = writeQcow2(scratch(), diskBytes(), ['-o', 'cluster_size=4k']);
    const results = await Promise.allSettled(
      [64, 65, 66, 67].map((size) => addon.growImage(layersOf(path), size * KIB * MIB, 0)),
    );
    for (const result of results) {
      if (result.status === 'rejected') expect(['in-use', 'shrink']).toContain(result.reason.rule);
    }
    expect(results.some(({ status }) => status === 'fulfilled')).toBe(true);
    qemu('qemu-img', 'check', '-q', '-f', 'qcow2', path);
  });
});
