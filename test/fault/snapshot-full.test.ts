// A snapshot on a file system that is full, or becomes so at any step: the right error, nothing left, and the guest runs on.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { SnapshotStep } from '../../src/index.js';
import { LibvirtDriver } from '../../src/libvirt/libvirt-driver.js';
import { eventually, TestHost } from '../support/host.js';

const MIB = 2 ** 20;
const host = new TestHost();
const filler = join(host.instancesPath, 'filler');
const instance = host.instance({ vifs: [] });
const { uuid } = instance;
let driver: LibvirtDriver;

beforeAll(async () => {
  mkdirSync(host.instancesPath, { mode: 0o711 });
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256m,mode=711', 'none', host.instancesPath]);
  // Not a node: its claims count the room too.
  driver = new LibvirtDriver(host.options({ images: { reservedBytes: 0 } }));
  await driver.initHost();
  await driver.spawn(instance);
  await host.booted(uuid);
  const console = await driver.openConsole(uuid);
  console.resume();
  console.write(
    'dd if=/dev/urandom of=/dev/vda bs=1M seek=100 count=24 conv=notrunc,fsync; echo do$((1))ne\n',
  );
  await eventually('the disk to be filled', 60_000, () => host.consoleText(uuid).includes('do1ne'));
  console.destroy();
}, 120_000);

afterAll(async () => {
  await driver?.destroy(instance);
  await driver?.close();
  execFileSync('umount', ['-l', host.instancesPath]);
  host.dispose();
});

/** All but so many bytes. */
function fill(freeBytes: number): void {
  const { bavail, bsize } = statfsSync(host.instancesPath);
  const bytes = bavail * bsize - freeBytes;
  if (bytes > 0) execFileSync('fallocate', ['-l', String(bytes), filler]);
}

const made = (): string[] => [
  ...readdirSync(join(host.instancesPath, uuid)).filter((name) => name.startsWith('snapshot')),
  ...readdirSync(host.instancesPath).filter((name) => name.startsWith('.') || name === 'image.qcow2'),
];

const target = { type: 'file', path: join(host.instancesPath, 'image.qcow2') } as const;

it('is refused before a byte is written where there is no room from the start', async () => {
  fill(8 * MIB);
  const steps: SnapshotStep[] = [];
  const call = driver.snapshot(instance, target, { onProgress: ({ step }) => steps.push(step) });
  await expect(call).rejects.toMatchObject({
    code: 'NO_SPACE',
    details: { availableBytes: expect.any(Number) },
  });
  expect(steps).toEqual([]);
  expect(made()).toEqual([]);
  rmSync(filler);
});

it.each([
  ['copy', 2 * MIB],
  ['copy', 0],
  ['convert', 2 * MIB],
] as const)(
  'fails with NO_SPACE where it becomes full in the step %s, but for %i bytes',
  async (at, free) => {
    let filled = false;
    const onProgress = ({ step }: { readonly step: SnapshotStep }): void => {
      if (step === at && !filled) fill(free);
      filled ||= step === at;
    };
    const call = driver.snapshot(instance, target, { onProgress });
    await expect(call).rejects.toMatchObject({ code: 'NO_SPACE' });
    rmSync(filler);
    expect(made()).toEqual([]);
    expect((await driver.getInfo(uuid)).powerState).toBe('running');
    expect((await driver.snapshot(instance, target)).how).toBe('live');
    rmSync(target.path);
  },
);
