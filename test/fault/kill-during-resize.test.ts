// kill -9 of our process, of QEMU and of libvirtd in the middle of a resize: old flavor or new, never between, nothing left over.
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PrivateLibvirtd } from '../../scripts/private-libvirtd.mjs';
import { ComputeError, ComputeNode, type InstanceView } from '../../src/index.js';
import { GUEST_IMAGE, qemuProcesses, TestHost } from '../support/host.js';
import { killAt, type Moment } from '../support/kill-at.js';
import { INDEX, runScript } from '../support/run-script.js';

const GIB = 2 ** 30;
const LARGER = { vcpus: 2, memoryMb: 160, rootGb: 2, swapMb: 16 };

/** Says what it found, brings that to an end, and kills itself in the middle of a resize, its confirmation or its revert. */
const RESIZER = `
import { readdirSync, readFileSync } from 'node:fs';
import { ComputeNode } from ${INDEX};
const { delayMs, call, node: options, request, larger } = JSON.parse(process.argv[1]);
const { uuid } = request;
const node = await ComputeNode.open(options);
const [found] = await node.list();
const directory = options.instancesPath + '/' + uuid;
const files = found ? { names: readdirSync(directory), info: readFileSync(directory + '/disk.info', 'utf8') } : null;
console.log(JSON.stringify({ view: found ?? null, files }));
if (!found) await node.launch(request);
else if (found.resize) await node.revertResize(uuid);
else if (found.flavor.vcpus === larger.vcpus) {
  await node.terminate(uuid);
  await node.launch(request);
}
if (call === 'terminate') {
  await node.terminate(uuid);
  await node.close();
} else {
  if (call !== 'resize') await node.resize(uuid, larger, { shutdownTimeoutMs: 0 });
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), delayMs);
  if (call === 'resize') await node.resize(uuid, larger, { shutdownTimeoutMs: 0 });
  else await node[call](uuid);
}
await new Promise(() => setInterval(() => undefined, 1000));
`;

interface Files {
  readonly names: readonly string[];
  /** What stands in disk.info. */
  readonly info: string;
}

interface Found {
  readonly view: InstanceView | null;
  readonly files: Files | null;
}

async function run(argument: { readonly call: string } & Record<string, unknown>): Promise<Found> {
  const script = argument.call === 'terminate' ? RESIZER.replace(/await new Promise.*\n$/, '') : RESIZER;
  return await runScript<Found>(script, argument);
}

let host: TestHost;

beforeAll(() => {
  host = new TestHost();
});
afterAll(() => host.dispose());

function request(uuid: string) {
  return {
    uuid,
    name: 'grower',
    flavor: { vcpus: 1, memoryMb: 128, rootGb: 1 },
    image: { id: 'guest', diskFormat: 'qcow2', source: { type: 'file', path: GUEST_IMAGE } },
    networks: [{ bridge: host.bridge }],
  } as const;
}

function filesOf(uuid: string): Files {
  const directory = join(host.instancesPath, uuid);
  return { names: readdirSync(directory), info: readFileSync(join(directory, 'disk.info'), 'utf8') };
}

/** Its files are those of its flavor, and of a resize that waits. */
function expectFiles(view: InstanceView, { names, info }: Files): void {
  const waits = view.resize?.phase === 'verify';
  expect(names.includes('disk.resize')).toBe(waits);
  expect(names.includes('resize.info')).toBe(waits);
  expect(names.filter((name) => name.includes('.new'))).toEqual([]);
  expect(names.includes('disk.swap')).toBe(view.flavor.swapMb > 0);
  const disks = JSON.parse(info) as { readonly disk: { readonly virtualSizeBytes: number } };
  expect(disks.disk.virtualSizeBytes).toBe(view.flavor.rootGb * GIB);
}

describe('a process that is killed', () => {
  it('in the middle of a resize, a confirmation or a revert leaves one or the other', async () => {
    const uuid = randomUUID();
    const node = { instancesPath: host.instancesPath, driverOptions: { root: host.root, vncListen: '' } };
    const argument = { node, request: request(uuid), larger: LARGER };
    const rounds = [
      ...[0, 20, 60, 150, 230, 260, 300, 350, 450, 700, 5_000].map((delayMs) => ({
        call: 'resize',
        delayMs,
      })),
      ...[0, 5, 20, 2_000].map((delayMs) => ({ call: 'confirmResize', delayMs })),
      ...[0, 30, 150, 260, 320].map((delayMs) => ({ call: 'revertResize', delayMs })),
      { call: 'terminate' },
    ];
    const seen = new Set<string>();
    for (const [index, round] of rounds.entries()) {
      const { view, files } = await run({ ...argument, ...round });
      if (index === 0) continue;
      if (!view || !files) throw new Error('the instance is lost');
      expect(view.powerState).toBe('running');
      expect(['verify', undefined]).toContain(view.resize?.phase);
      expect([1, 2]).toContain(view.flavor.vcpus);
      expectFiles(view, files);
      seen.add(`${view.flavor.vcpus} ${view.resize?.phase ?? ''}`);
    }
    // Old, new and waiting: the kills came before, in and after.
    expect([...seen].sort()).toEqual(['1 ', '2 ', '2 verify']);
    expect(qemuProcesses(uuid)).toEqual([]);
    expect(host.remains()).toEqual([]);
  }, 240_000);
});

describe.each(['QEMU', 'libvirtd'] as const)('%s that is killed', (victim) => {
  it('in the middle of a resize leaves one or the other, which works', async () => {
    const daemon = victim === 'libvirtd' ? await PrivateLibvirtd.start(`${host.directory}/d`) : undefined;
    // A QEMU that was killed holds its VNC port a moment longer than libvirt believes.
    const where = daemon ? { uri: daemon.uri } : { root: host.root };
    const driverOptions = { ...where, vncListen: '' };
    const node = await ComputeNode.open({ instancesPath: host.instancesPath, driverOptions });
    const uuid = randomUUID();
    try {
      await node.launch(request(uuid));
      // Between its start of a QEMU and the first word of that, a libvirtd 9.0 that dies has the domain start for ever.
      const ofLibvirtd: Moment[] = ['begun', { event: 'stopped' }, { event: 'started' }];
      for (const moment of daemon ? ofLibvirtd : [0, 50, 150, 250, 300, 400]) {
        const kill = (): void => {
          if (daemon) daemon.kill();
          for (const pid of daemon ? [] : qemuProcesses(uuid)) process.kill(pid, 'SIGKILL');
        };
        const resize = () => node.resize(uuid, LARGER, { shutdownTimeoutMs: 0 });
        const outcome = await killAt(node, moment, kill, resize).then(
          () => 'resized',
          (error: unknown) => (ComputeError.is(error) ? error.code : String(error)),
        );
        const view = await settled(node, uuid);
        expect([outcome, view.resize?.phase]).toEqual(
          outcome === 'resized' ? ['resized', 'verify'] : [expect.any(String), undefined],
        );
        expectFiles(view, filesOf(uuid));
        await node.start(uuid);
        if (view.resize) await node.revertResize(uuid);
        const old = await node.get(uuid);
        expect([old.powerState, old.flavor.vcpus, old.resize]).toEqual(['running', 1, undefined]);
        expectFiles(old, filesOf(uuid));
        expect((await node.report()).vcpus.used, `after ${outcome}, ${JSON.stringify(moment)}`).toBe(1);
      }
    } finally {
      await node.terminate(uuid);
      await node.close();
      daemon?.stop();
    }
    expect(host.remains()).toEqual([]);
  }, 240_000);
});

/** A hypervisor that has just gone is back in a moment. */
async function settled(node: ComputeNode, uuid: string): Promise<InstanceView> {
  for (;;) {
    try {
      return await node.get(uuid);
    } catch (error) {
      if (!ComputeError.is(error) || error.code !== 'CONNECTION_LOST') throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
