// The addon under everything that an embedding program may do to it, each in a process of its own.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type ChildResult, runChild, workerSource } from './child.js';

function expectClean(result: ChildResult, output: string): void {
  expect({ ...result, stdout: result.stdout.trim() }, result.stderr).toEqual({
    code: 0,
    signal: null,
    stdout: output,
    stderr: '',
  });
}

describe('garbage collection', () => {
  it('leaves calls in flight alone when connection and domain are collected', async () => {
    const result = await runChild(`
      const results = [];
      for (let round = 0; round < 20; round += 1) {
        let connection = await open();
        let domain = await connection.lookup('6695eb01-f6a4-8304-79aa-97f2502e193f', 0);
        for (let i = 0; i < 50; i += 1) results.push(domain.info(0), connection.nodeInfo(0));
        connection = domain = undefined;
        global.gc();
      }
      const settled = await Promise.all(results);
      global.gc();
      console.log(settled.length);
    `);
    expectClean(result, '2000');
  });

  it('leaves reads in flight alone when a disk and its stream are collected or closed', async () => {
    const result = await runChild(`
      const directory = mkdtempSync(join(tmpdir(), 'node-compute-disk-'));
      const path = join(directory, 'image');
      const image = { virtualSizeBytes: 2 ** 30, clusterSizeBytes: 65536, compression: 'zlib' };
      await addon.createQcow2(path, image, 0);
      const results = [];
      for (let round = 0; round < 50; round += 1) {
        let disk = await addon.openDisk([{ path, format: 'qcow2' }], 2 ** 40, 0);
        let stream = await disk.openQcow2Stream(0);
        for (let i = 0; i < 10; i += 1) {
          results.push(disk.read(i * 4096, 65536, 0), disk.map(0, 0), stream.read(0, stream.clusters, 0));
        }
        if (round % 2 === 0) disk.close();
        disk = stream = undefined;
        global.gc();
      }
      const settled = await Promise.all(results);
      global.gc();
      rmSync(directory, { recursive: true });
      console.log(settled.length);
    `);
    expectClean(result, '1500');
  });

  it('leaves the digest of a file in flight alone when it is collected or closed', async () => {
    const result = await runChild(`
      const { writeFileSync } = await import('node:fs');
      const directory = mkdtempSync(join(tmpdir(), 'node-compute-digest-'));
      const path = join(directory, 'file');
      writeFileSync(path, Buffer.alloc(3 << 20, 'x'));
      const results = [];
      for (let round = 0; round < 100; round += 1) {
        let digest = await addon.openFileDigest(path, { algorithm: 'sparse-sha256', direct: round % 3 === 0 }, 0);
        for (let i = 0; i < 5; i += 1) results.push(digest.advance(1, 0));
        if (round % 2 === 0) {
          digest.close();
          digest.close();
          try { await digest.advance(1, 0); } catch (error) { if (error.code !== 'CLOSED') throw error; }
        }
        digest = undefined;
        global.gc();
      }
      const settled = await Promise.all(results);
      global.gc();
      rmSync(directory, { recursive: true });
      console.log(new Set(settled.map(({ value }) => value)).size, settled.length);
    `);
    expectClean(result, '2 500');
  });

  it('collects connections that nobody closed', async () => {
    const result = await runChild(`
      const registry = new FinalizationRegistry(() => { collected += 1; });
      let collected = 0;
      for (let i = 0; i < 100; i += 1) registry.register(await open(), i);
      const end = Date.now() + 20_000;
      while (collected < 90 && Date.now() < end) { global.gc(); await new Promise((r) => setTimeout(r, 5)); }
      console.log(collected >= 90);
    `);
    expectClean(result, 'true');
  });

  it('keeps delivering events to a subscribed connection, and none to a closed one', async () => {
    const result = await runChild(`
      const connection = await open();
      let events = 0;
      await connection.subscribe((batch) => { events += batch.length; global.gc(); }, 0);
      const domain = await connection.lookup('6695eb01-f6a4-8304-79aa-97f2502e193f', 0);
      for (let i = 0; i < 20; i += 1) { await domain.suspend(0); await domain.resume(0); }
      const end = Date.now() + 10_000;
      while (events < 40 && Date.now() < end) await new Promise((r) => setTimeout(r, 5));
      await connection.close(0);
      console.log(events);
    `);
    expectClean(result, '40');
  });
});

describe('close', () => {
  it('while busy waits for what runs and refuses what comes later', async () => {
    const result = await runChild(`
      const connection = await open();
      const calls = [];
      for (let i = 0; i < 500; i += 1) calls.push(connection.list(0, 'urn:x', 0));
      const closing = [connection.close(0), connection.close(0)];
      const settled = await Promise.allSettled(calls);
      await Promise.all(closing);
      const codes = new Set(settled.map((one) => one.status === 'fulfilled' ? 'ok' : one.reason.code));
      codes.delete('ok');
      codes.delete('CLOSED');
      const late = await connection.list(0, 'urn:x', 0).catch((error) => error.code);
      console.log(codes.size, late);
    `);
    expectClean(result, '0 CLOSED');
  });
});

describe('process exit', () => {
  it('with calls running ends at once and cleanly', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'node-compute-exit-'));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    const result = await runChild(`
      const path = ${JSON.stringify(join(directory, 'lock'))};
      const held = await addon.lockFile(path, { shared: false, wait: true }, 0);
      const connection = await open();
      for (let i = 0; i < 300; i += 1) connection.list(0, 'urn:x', 0);
      addon.lockFile(path, { shared: false, wait: true }, 0); // never comes: it runs when the process ends
      process.stdout.write(String(held !== undefined), () => process.exit(0));
    `);
    expectClean(result, 'true');
  });

  it('is not held up by an idle connection and its subscription', async () => {
    const result = await runChild(`
      const connection = await open();
      await connection.subscribe(() => {}, 0);
      console.log('idle');
    `);
    expectClean(result, 'idle');
  });

  it('waits for a call that was not awaited', async () => {
    const result = await runChild(`
      open().then((connection) => connection.hostname(0)).then((name) => console.log(name.length > 0));
    `);
    expectClean(result, 'true');
  });
});

describe('worker threads', () => {
  it('each have the addon to themselves, many times over', async () => {
    const body = workerSource(`
      const connection = await open();
      const domain = await connection.lookup('6695eb01-f6a4-8304-79aa-97f2502e193f', 0);
      const infos = await Promise.all(Array.from({ length: 50 }, () => domain.info(0)));
      await connection.close(0);
      parentPort.postMessage(infos.length);
    `);
    const result = await runChild(`
      let total = 0;
      for (let round = 0; round < 3; round += 1) {
        const workers = Array.from({ length: 4 }, () => startWorker(${body}));
        await Promise.all(workers.map((worker) => new Promise((resolve, reject) => {
          worker.on('message', (count) => { total += count; });
          worker.on('error', reject);
          worker.on('exit', resolve);
        })));
      }
      console.log(total);
    `);
    expectClean(result, '600');
  });

  it('terminated with calls in flight leave the process whole', async () => {
    const body = workerSource(`
      const connection = await open();
      await connection.subscribe(() => {}, 0);
      const domain = await connection.lookup('6695eb01-f6a4-8304-79aa-97f2502e193f', 0);
      parentPort.postMessage('busy');
      for (;;) await Promise.all(Array.from({ length: 50 }, () => domain.info(0)));
    `);
    const result = await runChild(`
      for (let round = 0; round < 30; round += 1) {
        const worker = startWorker(${body});
        await new Promise((resolve) => worker.once('message', resolve));
        await new Promise((resolve) => setTimeout(resolve, round % 10));
        await worker.terminate();
      }
      const connection = await open();
      console.log((await connection.list(0, 'urn:x', 0)).length);
      await connection.close(0);
    `);
    expectClean(result, '1');
  });

  it('alone may load the addon and go: the main thread never does', async () => {
    const body = workerSource(`
      const connection = await open();
      parentPort.postMessage((await connection.list(0, 'urn:x', 0)).length);
    `);
    const result = await runChild(
      `
      for (let round = 0; round < 3; round += 1) {
        const worker = startWorker(${body});
        await new Promise((resolve) => worker.on('exit', resolve));
      }
      console.log('left');
    `,
      { loadAddon: false },
    );
    expectClean(result, 'left');
  });
});

describe('cancellation', () => {
  it('of a queued call rejects it and frees its place', async () => {
    const result = await runChild(`
      const directory = mkdtempSync(join(tmpdir(), 'node-compute-cancel-'));
      const path = join(directory, 'lock');
      const held = await addon.lockFile(path, { shared: false, wait: true }, 0);
      const waiting = addon.lockFile(path, { shared: false, wait: true }, 7);
      addon.cancel(7);
      const code = await waiting.catch((error) => error.code);
      await held.release(0);
      const again = await addon.lockFile(path, { shared: false, wait: false }, 0);
      rmSync(directory, { recursive: true });
      console.log(code, again !== undefined);
    `);
    expectClean(result, 'CANCELLED true');
  });

  it('of an unknown or ended call does nothing', async () => {
    const result = await runChild(`
      addon.cancel(12345);
      const connection = await addon.openConnection('test:///default', options, 9);
      addon.cancel(9);
      console.log((await connection.list(0, 'urn:x', 0)).length);
    `);
    expectClean(result, '1');
  });
});

describe('hostile arguments', () => {
  it('reject with INVALID_ARGUMENT or throw a TypeError, and never crash', async () => {
    const result = await runChild(`
      const connection = await open();
      const domain = await connection.lookup('6695eb01-f6a4-8304-79aa-97f2502e193f', 0);
      const bad = [undefined, null, -1, 1.5, NaN, Infinity, 2 ** 60, '', 'x\\0y', {}, [], Symbol.iterator, () => {}, 1n];
      const codes = new Set();
      const attempt = async (call) => {
        try { await call(); } catch (error) { codes.add(error.code ?? error.name); }
      };
      for (const a of bad) {
        for (const b of bad) {
          await attempt(() => connection.define(a, b, 0));
          await attempt(() => addon.openConnection(a, b, 0));
        }
        await attempt(() => connection.lookup(a, 0));
        await attempt(() => connection.list(a, a, 0));
        await attempt(() => connection.subscribe(a, 0));
        await attempt(() => domain.start(a, 0));
        await attempt(() => domain.xml(a, 0));
        await attempt(() => new domain.constructor(a));
        await attempt(() => new connection.constructor(a, a));
        await attempt(() => domain.info.call(a));
        await attempt(() => addon.cancel(a));
        await attempt(() => addon.openFileDigest(a, a, 0));
        await attempt(() => addon.openFileDigest('/proc/self/maps', { algorithm: a, direct: a }, 0));
        await attempt(() => addon.readDirectory(a, a, 0));
      }
      console.log([...codes].sort().join(' '));
    `);
    expect(result.signal).toBeNull();
    expect(result.stdout.trim().split(' ')).toEqual(
      expect.arrayContaining(['INVALID_ARGUMENT', 'LIBVIRT', 'TypeError']),
    );
    expect(result.code).toBe(0);
  });
});
