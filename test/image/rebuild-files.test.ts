// New disks take the place of old ones: cut short after any number of steps and begun again, they end alike.
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { InstanceFiles } from '../../src/libvirt/instance-files.js';
import { RebuildFiles } from '../../src/libvirt/rebuild-files.js';

const directory = mkdtempSync(join(tmpdir(), 'nct-rebuild-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const context = { operation: 'test' };
/** Lets so many native calls pass. */
function cutAfter(calls: number): typeof context & { readonly signal: AbortSignal | undefined } {
  let left = calls;
  return {
    ...context,
    get signal() {
      left -= 1;
      return left >= 0 ? undefined : AbortSignal.abort();
    },
  };
}

let count = 0;

/** An instance with a root, an ephemeral and a swap disk; `sameBase` for a rebuild from its own image. */
async function prepared(sameBase: boolean): Promise<{ path: string; files: RebuildFiles; base: string }> {
  count += 1;
  const instances = join(directory, String(count));
  const path = join(instances, 'instance');
  mkdirSync(path, { recursive: true });
  const bases = ['old', 'new'].map((name) => {
    writeFileSync(join(instances, name), name);
    return join(instances, name);
  });
  const [old = '', other = ''] = bases;
  const base = sameBase ? old : other;
  for (const name of ['disk', 'disk.local', 'disk.swap', 'disk.config', 'nvram.fd', 'console.log']) {
    writeFileSync(join(path, name), `old ${name}`);
  }
  linkSync(old, join(path, 'disk.base'));
  linkSync(old, join(path, 'disk.swap.base'));
  for (const name of ['disk', 'disk.swap']) writeFileSync(join(path, `${name}.rebuild`), `new ${name}`);
  linkSync(base, join(path, 'disk.rebuild.base'));
  const files = new RebuildFiles(new InstanceFiles(instances, 'instance'));
  await files.writeConfigDrive(Buffer.from('new disk.config'), context);
  const of = { format: 'qcow2', virtualSizeBytes: 512 } as const;
  const local = { format: 'raw', virtualSizeBytes: 1024 } as const;
  await files.writeDisks(
    // The swap disk has no base any more.
    { disk: { ...of, base: { path: base, format: 'raw' } }, 'disk.local': local, 'disk.swap': of },
    context,
  );
  return { path, files, base };
}

function expectNew(path: string, base: string): void {
  expect(readdirSync(path).sort()).toEqual(
    ['console.log', 'disk', 'disk.base', 'disk.config', 'disk.info', 'disk.local', 'disk.swap'].sort(),
  );
  const text = (name: string): string => readFileSync(join(path, name), 'utf8');
  expect(['disk', 'disk.local', 'disk.swap', 'disk.config'].map(text)).toEqual([
    'new disk',
    'old disk.local',
    'new disk.swap',
    'new disk.config',
  ]);
  expect(statSync(join(path, 'disk.base')).ino).toBe(statSync(base).ino);
}

describe.each([false, true])('from its own image: %s', (sameBase) => {
  it('takes their place, whenever it was cut short before', async () => {
    for (let calls = 0; ; calls += 1) {
      const { path, files, base } = await prepared(sameBase);
      const cut = await files.adopt(cutAfter(calls)).then(
        () => false,
        () => true,
      );
      // The base is held at every moment.
      const held = readdirSync(path).filter((name) => name.endsWith('.base'));
      expect(held.some((name) => statSync(join(path, name)).ino === statSync(base).ino)).toBe(true);
      await files.adopt(context);
      await files.adopt(context);
      expectNew(path, base);
      expect(await files.complete(context)).toBe(false);
      if (!cut) {
        expect(calls).toBeGreaterThan(15);
        break;
      }
    }
  });

  it('goes without a trace where it is not wanted', async () => {
    const { path, files } = await prepared(sameBase);
    expect(await files.complete(context)).toBe(true);
    await files.remove(context);
    await files.remove(context);
    expect(readdirSync(path).filter((name) => name.includes('rebuild'))).toEqual([]);
    expect(readFileSync(join(path, 'disk'), 'utf8')).toBe('old disk');
  });
});
