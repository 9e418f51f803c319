// kill -9 at any moment: the next start finds or makes a host where files, domains, journals and claims agree.
import { execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ComputeNode, FakeHypervisor, type FakeHypervisorState } from '../../src/index.js';

const repository = fileURLToPath(new URL('../../', import.meta.url));
const child = fileURLToPath(new URL('./node-kill-child.mjs', import.meta.url));
const addon = process.env['NODE_COMPUTE_ADDON'] ?? join(repository, 'build/Release/node_compute.node');
const ROUNDS = 12;

let directory = '';
let compiled = '';

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'nct-kill-'));
  // Inside the repository, so that its node_modules are found.
  mkdirSync(join(repository, 'build'), { recursive: true });
  compiled = mkdtempSync(join(repository, 'build/kill-'));
  // It tells its version.
  copyFileSync(join(repository, 'package.json'), join(compiled, 'package.json'));
  const tsc = join(repository, 'node_modules/.bin/tsc');
  // Types are checked elsewhere: this wants JavaScript that runs without the test runner.
  execFileSync(tsc, [
    '-p',
    join(repository, 'tsconfig.json'),
    '--outDir',
    join(compiled, 'dist'),
    '--noCheck',
  ]);
});

afterAll(() => {
  for (const path of [directory, compiled]) if (path !== '') rmSync(path, { recursive: true, force: true });
});

it(`leaves nothing behind in ${ROUNDS} kills or more, and keeps what was launched`, async () => {
  const path = join(directory, 'instances');
  const stateFile = join(directory, 'hypervisor.json');
  const actions = new Map<string, number>();
  let launched = 0;
  let longestMs = 120;
  // More of them where a slow machine has launched too little to lose.
  for (let round = 0; round < ROUNDS || (launched <= ROUNDS && round < 5 * ROUNDS); round++) {
    const { launches, standing } = await runAndKill(path, stateFile, Math.random() * longestMs);
    launched += launches;
    if (launches === 0) longestMs = Math.min(2 * longestMs, 4_000);
    const hypervisor = FakeHypervisor.load(
      JSON.parse(readFileSync(stateFile, 'utf8')) as FakeHypervisorState,
    );
    const node = await ComputeNode.open({
      driver: 'fake.FakeDriver',
      instancesPath: path,
      driverOptions: { hypervisor, files: true },
    });
    for (const { action } of node.recoveries) actions.set(action, (actions.get(action) ?? 0) + 1);
    await expectAgreement(node, hypervisor, path);
    expect((await node.list()).map(({ uuid }) => uuid)).toEqual(expect.arrayContaining([...standing]));
    // Cleared, so that the next round starts from an empty host.
    for (const { uuid } of await node.list()) await node.terminate(uuid);
    await node.close();
    rmSync(stateFile);
    expect(readdirSync(join(path, 'journal'))).toEqual([]);
  }
  expect(launched).toBeGreaterThan(ROUNDS);
  expect([...actions.keys()].filter((action) => action === 'failed' || action === 'left')).toEqual([]);
  // With four at work there is next to always something half done.
  expect((actions.get('rolled-back') ?? 0) + (actions.get('removed') ?? 0)).toBeGreaterThan(0);
  expect(actions.get('adopted') ?? 0).toBeGreaterThan(0);
});

interface Told {
  /** Launches that were reported. */
  readonly launches: number;
  /** Those of them that nobody had begun to terminate. */
  readonly standing: ReadonlySet<string>;
}

async function runAndKill(path: string, stateFile: string, afterMs: number): Promise<Told> {
  const process_ = fork(child, [join(compiled, 'dist/index.js'), path, stateFile], {
    env: { ...process.env, NODE_COMPUTE_ADDON: addon },
    execArgv: [],
  });
  let launches = 0;
  const standing = new Set<string>();
  process_.on('message', (message) => {
    const [what, uuid = ''] = String(message).split(' ');
    if (what === 'launched') {
      launches += 1;
      standing.add(uuid);
    } else standing.delete(uuid);
  });
  const exited = once(process_, 'exit');
  await Promise.race([once(process_, 'message'), exited]);
  await new Promise((resolve) => setTimeout(resolve, afterMs));
  process_.kill('SIGKILL');
  expect(await exited).toEqual([null, 'SIGKILL']);
  expect(existsSync(stateFile)).toBe(true);
  return { launches, standing };
}

async function expectAgreement(node: ComputeNode, hypervisor: FakeHypervisor, path: string): Promise<void> {
  const views = await node.list();
  const uuids = views.map(({ uuid }) => uuid).sort();
  const directories = readdirSync(path).filter((name) => !['journal', 'locks', 'sequence'].includes(name));
  expect(directories.sort()).toEqual(uuids);
  for (const { uuid, vmState } of views) {
    const rescue = vmState === 'rescued' ? ['disk.rescue'] : [];
    expect(readdirSync(join(path, uuid)).sort()).toEqual(
      ['disk', 'disk.config', ...rescue, 'libvirt.xml'].sort(),
    );
    expect(hypervisor.rescued.has(uuid)).toBe(vmState === 'rescued');
  }
  expect(readdirSync(join(path, 'journal')).sort()).toEqual(uuids);
  expect([...hypervisor.domains.keys()].sort()).toEqual(uuids);
  expect([...hypervisor.disks].sort()).toEqual(uuids);
  expect([...new Set(hypervisor.taps.values())].sort()).toEqual(uuids);
  expect(views.every(({ powerState }) => powerState === 'running')).toBe(true);
  expect(new Set(views.map(({ name }) => name)).size).toBe(views.length);
  const { vcpus, memoryMb } = await node.report();
  expect([vcpus.used, memoryMb.used]).toEqual([uuids.length, uuids.length * 64]);
}
