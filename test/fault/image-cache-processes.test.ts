// 64 launches of one new image over four processes, again and again, some of them killed: one fetch, 64 disks.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, it, onTestFinished } from 'vitest';
import type { ImageMeta } from '../../src/driver/model.js';
import { imageKey } from '../../src/image/cache-paths.js';
import {
  diskBytes,
  httpImage,
  openCache,
  read,
  scratch,
  serve,
  until,
  writeQcow2,
} from '../image/fixtures.js';

const ROUNDS = Number(process.env['NODE_COMPUTE_CACHE_ROUNDS'] ?? 4);
const PROCESSES = 4;
const LAUNCHES_EACH = 16;
const child = fileURLToPath(new URL('image-cache-child.mjs', import.meta.url));

interface Said {
  readonly ready?: true;
  readonly activity?: string;
  readonly disk?: string;
  readonly done?: true;
  readonly failures?: readonly string[];
  readonly misses?: number;
}

class Launcher {
  readonly said: Said[] = [];
  readonly #process: ChildProcess;

  constructor(instances: string) {
    this.#process = spawn(process.execPath, [child, instances], { stdio: ['pipe', 'pipe', 'inherit'] });
    onTestFinished(() => void this.#process.kill('SIGKILL'));
    if (!this.#process.stdout) throw new Error('no pipe');
    createInterface({ input: this.#process.stdout }).on('line', (line) => this.said.push(JSON.parse(line)));
  }

  async ready(): Promise<this> {
    await until(() => this.said.some(({ ready }) => ready));
    return this;
  }

  /** Forgets what it said, and begins. */
  launch(image: ImageMeta, uuids: readonly string[]): void {
    this.said.length = 0;
    this.#process.stdin?.write(`${JSON.stringify({ image, uuids })}\n`);
  }

  get result(): Said | undefined {
    return this.said.find(({ done }) => done);
  }

  does(activity: string): boolean {
    return this.said.some((one) => one.activity === activity);
  }

  async kill(): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.kill('SIGKILL');
    await ended;
  }
}

it(`${PROCESSES * LAUNCHES_EACH} launches of a new image over ${PROCESSES} processes are one download and one conversion, also where one is killed`, async () => {
  const { cache, instances, bases, temporaries } = openCache();
  const bytes = diskBytes();
  const file = read(writeQcow2(scratch(), bytes, ['-c']));
  let stall = false;
  const held: (() => void)[] = [];
  const server = await serve((_request, response) => {
    response.writeHead(200, { 'content-length': file.length });
    const half = file.length >> 1;
    response.write(file.subarray(0, half));
    if (stall) held.push(() => response.end(file.subarray(half)));
    else response.end(file.subarray(half));
  });
  const launchers = await Promise.all(
    Array.from({ length: PROCESSES }, () => new Launcher(instances).ready()),
  );

  for (let round = 0; round < ROUNDS; round++) {
    // Every second round the process that fetches dies: in the middle of the body, or of what follows it.
    const killed = round % 2 === 1;
    const image = httpImage(`${server.url}/${round}`, 'qcow2', { id: `image-${round}` });
    const uuids = launchers.map(() => Array.from({ length: LAUNCHES_EACH }, () => randomUUID()));
    server.requests.length = 0;
    stall = killed && round % 4 === 1;
    for (const [i, launcher] of launchers.entries()) launcher.launch(image, uuids[i] ?? []);

    if (killed) {
      const at = stall ? 'downloading' : 'converting';
      await until(() => launchers.some((one) => one.does(at)));
      const victim = launchers.findIndex((one) => one.does(at));
      if (stall) await until(() => held.length > 0);
      // While it lives nobody else fetches.
      expect(launchers.filter((one) => one.does('downloading'))).toHaveLength(1);
      stall = false;
      await launchers[victim]?.kill();
      held.length = 0;
      const survivors = launchers.filter((_one, i) => i !== victim);
      await until(() => survivors.every(({ result }) => result));
      // One of those who waited took over, with nothing done by us.
      const fetched = survivors.reduce((sum, { result }) => sum + (result?.misses ?? 0), 0);
      expect(server.requests.length).toBe(1 + (fetched > 0 ? 1 : 0));
      const next = await new Launcher(instances).ready();
      launchers[victim] = next;
      // Its launches are made again, as an agent does that comes back.
      for (const uuid of uuids[victim] ?? []) rmSync(join(instances, uuid), { recursive: true, force: true });
      next.launch(image, uuids[victim] ?? []);
    }
    await until(() => launchers.every(({ result }) => result));

    const results = launchers.map(({ result }) => result);
    expect(results.flatMap((result) => result?.failures ?? [])).toEqual([]);
    const misses = results.reduce((sum, result) => sum + (result?.misses ?? 0), 0);
    if (killed) expect(misses).toBeLessThanOrEqual(1);
    else expect([misses, server.requests.length]).toEqual([1, 1]);
    const base = join(instances, '_base', imageKey(image.id));
    expect(read(base).equals(bytes)).toBe(true);
    const all = uuids.flat();
    expect(statSync(base).nlink).toBe(1 + all.length);
    expect(all.filter((uuid) => existsSync(join(instances, uuid, 'disk')))).toHaveLength(64);
    execFileSync('qemu-img', ['check', '-q', '-f', 'qcow2', join(instances, all[0] ?? '', 'disk')]);
    expect(temporaries()).toEqual([]);
    for (const uuid of all) rmSync(join(instances, uuid), { recursive: true });
  }
  // What was killed while it wrote a record.
  await cache.recover();
  expect(bases().filter((name) => !name.endsWith('.json'))).toHaveLength(ROUNDS);
  expect(readdirSync(join(instances, '_base/.quarantine'))).toEqual([]);
});
