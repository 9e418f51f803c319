// Files and locks through the addon: errors as codes, bytes as they are, waiting that holds nobody up.
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { callNative, type NativeAddon, type NativeFileLock, native } from '../../src/native.js';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'storage-'));
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

interface Limits {
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}

function call<T>(run: (addon: NativeAddon, id: number) => Promise<T>, limits: Limits = {}): Promise<T> {
  return callNative(run, { operation: 'test', ...limits });
}

const at = (name: string): string => join(directory, name);
const CREATE = { how: 'create', mode: 0o600, sync: true } as const;

describe('files', () => {
  it('hold text and bytes exactly, and give back their tail', async () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, n) => n);
    await call((addon, id) => addon.writeFile(at('bytes'), bytes, CREATE, id));
    await call((addon, id) => addon.writeFile(at('text'), 'Grüße, 世界 \0 end', CREATE, id));
    expect(new Uint8Array(readFileSync(at('bytes')))).toEqual(bytes);
    expect(readFileSync(at('text'), 'utf8')).toBe('Grüße, 世界 \0 end');
    const tail = await call((addon, id) => addon.readFile(at('bytes'), 3, id));
    expect([...tail]).toEqual([253, 254, 255]);
  });

  it('take only the part of a buffer that was given', async () => {
    const part = new Uint8Array([1, 2, 3, 4, 5]).subarray(1, 3);
    await call((addon, id) => addon.writeFile(at('part'), part, CREATE, id));
    expect([...readFileSync(at('part'))]).toEqual([2, 3]);
  });

  it('have any name that Linux takes', async () => {
    const names = ['new\nline', ' space ', 'Grüße', '-rf', '$(x)', '"quoted"', '\\', 'x'.repeat(255)].sort();
    await Promise.all(names.map((name) => call((addon, id) => addon.writeFile(at(name), name, CREATE, id))));
    const listed = await call((addon, id) => addon.listDirectory(directory, id));
    expect(listed.sort()).toEqual(names);
  });

  it('are told as they are, and as undefined where there is none', async () => {
    writeFileSync(at('file'), 'x'.repeat(5000), { mode: 0o640 });
    symlinkSync(at('file'), at('link'));
    const file = await call((addon, id) => addon.statFile(at('file'), id));
    expect(file).toMatchObject({
      type: 'file',
      sizeBytes: 5000,
      links: 1,
      mode: 0o640,
      uid: process.geteuid?.(),
    });
    expect(file?.allocatedBytes).toBeGreaterThanOrEqual(4096);
    expect(Math.abs((file?.mtimeMs ?? 0) - Date.now())).toBeLessThan(60_000);
    expect((await call((addon, id) => addon.statFile(at('link'), id)))?.type).toBe('other');
    expect(await call((addon, id) => addon.statFile(at('none'), id))).toBeUndefined();
  });

  it('go with their tree, and what planted links lead to stays', async () => {
    expect(await call((addon, id) => addon.makeDirectory(at('a/b/c'), 0o700, id))).toBe(true);
    expect(await call((addon, id) => addon.makeDirectory(at('a/b/c'), 0o700, id))).toBe(false);
    mkdirSync(at('outside'));
    writeFileSync(at('outside/kept'), '');
    symlinkSync(at('outside'), at('a/b/link'));
    await call((addon, id) => addon.removeTree(at('a'), id));
    await call((addon, id) => addon.removeTree(at('a'), id));
    expect(readdirSync(directory)).toEqual(['outside']);
    expect(readdirSync(at('outside'))).toEqual(['kept']);
  });

  it('fail with SYSTEM, the errno and the path', async () => {
    await expect(call((addon, id) => addon.readFile(at('none'), 10, id))).rejects.toMatchObject({
      code: 'SYSTEM',
      details: { errno: 2, path: at('none') },
    });
    await call((addon, id) => addon.writeFile(at('file'), '', CREATE, id));
    await expect(call((addon, id) => addon.writeFile(at('file'), '', CREATE, id))).rejects.toMatchObject({
      code: 'SYSTEM',
      details: { errno: 17 },
    });
  });

  it.each<[string, (addon: NativeAddon, id: number) => Promise<unknown>]>([
    ['a path with NUL', (addon, id) => addon.removeTree(`${at('file')}\0/etc`, id)],
    ['a relative tree', (addon, id) => addon.removeTree('relative', id)],
    ['a tree that is /', (addon, id) => addon.removeTree('/', id)],
    ['a path that is none', (addon, id) => addon.statFile(7 as unknown as string, id)],
    ['a negative mode', (addon, id) => addon.makeDirectory(at('x'), -1, id)],
    [
      'another way to write',
      (addon, id) => addon.writeFile(at('x'), '', { ...CREATE, how: 'x' as 'create' }, id),
    ],
    ['data that is none', (addon, id) => addon.writeFile(at('x'), 7 as unknown as string, CREATE, id)],
  ])('refuse %s', async (_name, run) => {
    await expect(call(run)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(readdirSync(directory)).toEqual([]);
  });

  it('on a full disk fail with NO_SPACE and leave the old content', async (context) => {
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', directory]);
    if (mounted.status !== 0) context.skip('mounting a small file system needs root');
    try {
      writeFileSync(at('kept'), 'old');
      const big = 'x'.repeat(128 * 1024);
      for (const how of ['create', 'replace', 'append'] as const) {
        const path = at(how === 'create' ? 'new' : 'kept');
        await expect(
          call((addon, id) => addon.writeFile(path, big, { ...CREATE, how }, id)),
        ).rejects.toMatchObject({ code: 'NO_SPACE' });
      }
      expect(readdirSync(directory)).toEqual(['kept']);
      expect(readFileSync(at('kept'), 'utf8')).toBe('old');
      const space = await call((addon, id) => addon.statFs(directory, id));
      expect(space.totalBytes).toBe(64 * 1024);
      expect(space.availableBytes).toBeLessThan(space.totalBytes);
    } finally {
      execFileSync('umount', [directory]);
    }
  });
});

const lock = (shared: boolean, wait: boolean, limits?: Limits): Promise<NativeFileLock | undefined> =>
  call((addon, id) => addon.lockFile(at('lock'), { shared, wait }, id), limits);

async function release(held: NativeFileLock | undefined): Promise<void> {
  expect(held).toBeDefined();
  await held?.release(0);
}

/** A process that has the lock, by flock(1): the same lock as a shell's. */
async function holder(): Promise<ChildProcess> {
  const child = spawn('flock', ['--no-fork', at('lock'), 'sh', '-c', 'echo held; exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  return child;
}

describe('locks', () => {
  it('exclude each other in one process, shared ones only an exclusive one', async () => {
    const held = await lock(false, false);
    expect(await lock(false, false)).toBeUndefined();
    expect(await lock(true, false)).toBeUndefined();
    await release(held);
    await release(held);
    const readers = await Promise.all([lock(true, true), lock(true, true)]);
    expect(await lock(false, false)).toBeUndefined();
    await Promise.all(readers.map(release));
    await release(await lock(false, false));
    expect(readdirSync(directory)).toEqual(['lock']);
  });

  it("are a shell's as well, and free when their process is killed", async () => {
    const child = await holder();
    expect(await lock(false, false)).toBeUndefined();
    const waiting = lock(false, true, { timeoutMs: 10_000 });
    child.kill('SIGKILL');
    await release(await waiting);
  });

  it('are not waited for after an abort or the deadline', async () => {
    const child = await holder();
    const controller = new AbortController();
    const aborted = lock(false, true, { signal: controller.signal });
    const late = lock(false, true, { timeoutMs: 20 });
    controller.abort();
    await expect(aborted).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(late).rejects.toMatchObject({ code: 'TIMEOUT', retryable: true });
    child.kill('SIGKILL');
    // Neither of the two took it in passing.
    await release(await lock(false, true, { timeoutMs: 10_000 }));
  });

  it('are waited for without holding up other work, and each waiter has its turn', async () => {
    const held = await lock(false, false);
    let inside = 0;
    let overlaps = 0;
    const waiters = Array.from({ length: 60 }, async () => {
      const mine = await lock(false, true, { timeoutMs: 30_000 });
      inside += 1;
      if (inside > 1) overlaps += 1;
      await call((addon, id) => addon.statFile(at('lock'), id));
      inside -= 1;
      await release(mine);
    });
    // With the waiters in a lane these would not end before the lock is free.
    mkdirSync(at('tree'));
    await call((addon, id) => addon.removeTree(at('tree'), id), { timeoutMs: 5000 });
    await call((addon, id) => addon.writeFile(at('file'), 'x', CREATE, id), { timeoutMs: 5000 });
    await expect
      .poll(() =>
        native()
          .executorStatistics()
          .reduce((sum, lane) => sum + lane.running + lane.queued, 0),
      )
      .toBe(0);
    await release(held);
    await Promise.all(waiters);
    expect(overlaps).toBe(0);
  });

  it('that cannot be opened are an error, not a wait', async () => {
    mkdirSync(at('lock'));
    await expect(lock(false, true, { timeoutMs: 5000 })).rejects.toMatchObject({ code: 'SYSTEM' });
  });
});
