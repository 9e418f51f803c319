// kill -9 of the whole process in the middle of a rescue, an unrescue or a rebuild of a real guest: it is in its old or its new state.
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { GUEST_IMAGE, qemuProcesses, TestHost } from '../support/host.js';
import { INDEX, runScript } from '../support/run-script.js';

/** Opens the node and says what the instance was found as; changes it and kills itself meanwhile, where that is asked for. */
const CHANGER = `
import { ComputeNode } from ${INDEX};
const { what, delayMs, node: options, request } = JSON.parse(process.argv[1]);
const node = await ComputeNode.open(options);
if ((await node.list()).length === 0) await node.launch(request);
const { uuid } = request;
const { powerState, vmState, imageId } = await node.get(uuid);
console.log(JSON.stringify({ powerState, vmState, imageId, recoveries: node.recoveries }));
if (what === 'look') await node.close();
else if (what === 'end') {
  await node.terminate(uuid);
  await node.close();
} else {
  if (what !== 'unrescue') await node.unrescue(uuid);
  else await node.rescue(uuid, { shutdownTimeoutMs: 0 });
  const image = { ...request.image, id: imageId === 'one' ? 'two' : 'one' };
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), delayMs);
  if (what === 'rescue') await node.rescue(uuid, { image, shutdownTimeoutMs: 0 });
  else if (what === 'rebuild') await node.rebuild(uuid, { image }, { shutdownTimeoutMs: 0 });
  else await node.unrescue(uuid);
  setInterval(() => {}, 1000);
}
`;

interface Found {
  readonly powerState: string;
  readonly vmState: string;
  readonly imageId: string;
  readonly recoveries: readonly { readonly action: string; readonly reason: string }[];
}

let host: TestHost;

beforeAll(() => {
  host = new TestHost();
});
afterAll(() => host.dispose());

const run = (argument: unknown): Promise<Found> => runScript(CHANGER, argument);

it('leaves it in its old or its new state, running, with nothing left over', async () => {
  const node = { instancesPath: host.instancesPath, driverOptions: { root: host.root, vncListen: '' } };
  const uuid = randomUUID();
  const request = {
    uuid,
    name: 'changing',
    flavor: { vcpus: 1, memoryMb: 128, rootGb: 1, swapMb: 16 },
    image: { id: 'one', diskFormat: 'qcow2', source: { type: 'file', path: GUEST_IMAGE } },
    networks: [{ bridge: host.bridge }],
    configDrive: {},
  };
  const seen: string[] = [];
  const check = (found: Found): void => {
    expect(found.powerState, JSON.stringify(found)).toBe('running');
    expect(['active', 'rescued']).toContain(found.vmState);
    expect(found.recoveries.every(({ action }) => action === 'adopted')).toBe(true);
    seen.push(...found.recoveries.map(({ reason }) => reason));
    const names = readdirSync(`${host.instancesPath}/${uuid}`);
    expect(names.filter((name) => name.includes('rebuild'))).toEqual([]);
    const rescue = found.vmState === 'rescued' ? ['disk.rescue', 'disk.rescue.base', 'unrescue.xml'] : [];
    expect(names.filter((name) => name.includes('rescue')).sort()).toEqual(rescue);
    const info = readFileSync(`${host.instancesPath}/${uuid}/disk.info`, 'utf8');
    expect(info.includes('disk.rescue')).toBe(found.vmState === 'rescued');
    expect(qemuProcesses(uuid)).toHaveLength(1);
  };
  for (const what of ['rescue', 'unrescue', 'rebuild']) {
    for (const delayMs of [0, 15, 40, 100, 220, 350]) {
      await run({ what, delayMs, node, request });
      check(await run({ what: 'look', node, request }));
    }
  }
  await run({ what: 'end', node, request });
  expect(qemuProcesses(uuid)).toEqual([]);
  expect(host.remains()).toEqual([]);
  // Not every kill comes too early or too late.
  expect(
    seen.filter((reason) => /was interrupted and is (undone|finished)/.test(reason)).length,
  ).toBeGreaterThan(3);
}, 300_000);
