// kill -9 of the whole process in the middle of a suspend: the instance runs on or is suspended, and can be brought back.
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { GUEST_IMAGE, qemuProcesses, TestHost } from '../support/host.js';
import { INDEX, runScript } from '../support/run-script.js';

/** Brings the instance to run, says what it was found as, suspends it and kills itself meanwhile. */
const SUSPENDER = `
import { ComputeNode } from ${INDEX};
const { delayMs, node: options, request } = JSON.parse(process.argv[1]);
const node = await ComputeNode.open(options);
const [found] = await node.list();
if (!found) await node.launch(request);
else await node.start(request.uuid);
const { powerState } = await node.get(request.uuid);
console.log(JSON.stringify({ found: found?.powerState ?? 'nothing', now: powerState }));
if (delayMs === undefined) {
  await node.terminate(request.uuid);
  await node.close();
} else {
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), delayMs);
  await node.suspend(request.uuid);
}
`;

let host: TestHost;

beforeAll(() => {
  host = new TestHost();
});
afterAll(() => host.dispose());

const run = (argument: unknown): Promise<{ found: string; now: string }> => runScript(SUSPENDER, argument);

it('leaves it in its old or its new state, whenever it comes', async () => {
  const node = { instancesPath: host.instancesPath, driverOptions: { root: host.root } };
  const request = {
    uuid: randomUUID(),
    name: 'sleeper',
    flavor: { vcpus: 1, memoryMb: 128, rootGb: 1 },
    image: { id: 'guest', diskFormat: 'qcow2', source: { type: 'file', path: GUEST_IMAGE } },
    networks: [{ bridge: host.bridge }],
  };
  const seen: string[] = [];
  for (const delayMs of [0, 50, 150, 400, 900]) {
    const { found, now } = await run({ delayMs, node, request });
    expect(['nothing', 'running', 'suspended']).toContain(found);
    expect(now).toBe('running');
    seen.push(found);
  }
  const { found, now } = await run({ node, request });
  expect([...seen, found].slice(1).every((state) => state !== 'nothing')).toBe(true);
  expect(now).toBe('running');
  expect(qemuProcesses(request.uuid)).toEqual([]);
  expect(host.remains()).toEqual([]);
}, 90_000);
