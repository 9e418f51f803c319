// Servers of a real Nova on this host: every action of the API, and bursts of them while the broker and the agent die.
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { AgentProcess } from './agent-process.js';
import {
  action,
  allocations,
  boot,
  consoleOutput,
  diagnostics,
  endpoints,
  gone,
  image,
  remove,
  restartBroker,
  rig,
  settled,
  show,
  upload,
} from './control-plane.js';

const guest = fileURLToPath(new URL('../../build/guest/guest.qcow2', import.meta.url));
const SMALL = 2;
const TINY = 1;
const LARGER = 3;
const LONG = 600_000;
const WAIT = { timeout: 120_000, interval: 200 };
let agent: AgentProcess;

beforeAll(async () => {
  rig('image.sh');
  agent = new AgentProcess(`nco-${process.pid}`);
  await agent.start();
}, LONG);

afterAll(() => agent?.remove(), LONG);

afterEach(({ task }) => {
  if (task.result?.state === 'fail') console.log(agent.troubles());
});

it('a guest boots, is seen, goes through every action, and nothing of it is left', {
  timeout: LONG,
}, async () => {
  const imageId = await upload('guest', guest);
  const id = await boot('guest', agent.host, imageId, SMALL);
  const server = await settled(id, 'active');
  expect(server).toMatchObject({ host: agent.host, powerState: 1 });
  await vi.waitFor(async () => expect(await consoleOutput(id)).toContain('BOOTED'), WAIT);
  expect(await diagnostics(id)).toMatchObject({ state: 'running', driver: 'libvirt', num_disks: 1 });

  const steps: readonly (readonly [body: object, vmState: string])[] = [
    [{ 'os-stop': null }, 'stopped'],
    [{ 'os-start': null }, 'active'],
    [{ reboot: { type: 'SOFT' } }, 'active'],
    [{ reboot: { type: 'HARD' } }, 'active'],
    [{ pause: null }, 'paused'],
    [{ unpause: null }, 'active'],
    [{ suspend: null }, 'suspended'],
    [{ resume: null }, 'active'],
    [{ rescue: {} }, 'rescued'],
    [{ unrescue: null }, 'active'],
    [{ resize: { flavorRef: String(LARGER) } }, 'resized'],
    [{ revertResize: null }, 'active'],
    [{ resize: { flavorRef: String(LARGER) } }, 'resized'],
    [{ confirmResize: null }, 'active'],
    [{ rebuild: { imageRef: imageId } }, 'active'],
    [{ shelve: null }, 'shelved_offloaded'],
    [{ unshelve: null }, 'active'],
  ];
  for (const [body, vmState] of steps) {
    await action(id, body);
    const after = await settled(id, vmState);
    expect(after.fault, JSON.stringify(body)).toBeUndefined();
  }
  const made = (await (await action(id, { createImage: { name: 'snapshot' } })).json()) as {
    image_id: string;
  };
  await vi.waitFor(async () => expect((await image(made.image_id)).status).toBe('active'), WAIT);
  await settled(id, 'active');
  await vi.waitFor(async () => expect(await consoleOutput(id)).toContain('BOOTED'), WAIT);
  const backups: string[] = [];
  for (const name of ['one', 'two']) {
    const backup = await action(id, { createBackup: { name, backup_type: 'daily', rotation: 1 } });
    backups.push(((await backup.json()) as { image_id: string }).image_id);
    expect((await settled(id, 'active')).fault).toBeUndefined();
  }
  const [old = '', newest = ''] = backups;
  expect((await image(newest)).status).toBe('active');
  await expect(image(old)).rejects.toThrow();

  // The image asks for a disk as large as the one it was made of.
  const copy = await boot('copy', agent.host, made.image_id, LARGER);
  await settled(copy, 'active');
  for (const one of [id, copy]) {
    await remove(one);
    await gone(one);
    expect(await allocations(one)).toEqual({});
  }
  await vi.waitFor(() => expect(agent.leftovers()).toEqual([]), WAIT);
});

it('fifty servers in bursts, the broker restarted twice, the agent killed twice', {
  timeout: LONG,
}, async () => {
  const disasters: Readonly<Record<number, (ids: readonly string[]) => Promise<void>>> = {
    1: killAgent,
    2: loseBroker,
    3: killAgent,
    4: loseBroker,
  };
  let left = 50;
  for (let burst = 0; left > 0; burst++) {
    const names = Array.from({ length: Math.min(8, left) }, (_, index) => `burst-${burst}-${index}`);
    left -= names.length;
    const ids = await Promise.all(names.map((name) => boot(name, agent.host, endpoints.RIG_IMAGE_ID, TINY)));
    await disasters[burst]?.(ids);
    for (const id of ids) await settled(id, 'active', 180_000);
    await Promise.all(ids.map(remove));
    for (const id of ids) await gone(id, 180_000);
    for (const id of ids) expect(await allocations(id)).toEqual({});
  }
  await vi.waitFor(() => expect(agent.leftovers()).toEqual([]), WAIT);
  expect(agent.log).not.toContain('set-aside');
});

async function killAgent(): Promise<void> {
  await agent.kill();
  await agent.start();
}

/** What waits in its queues is lost to any host: so not before the agent has taken all. */
async function loseBroker(ids: readonly string[]): Promise<void> {
  await vi.waitFor(async () => {
    for (const id of ids) expect((await show(id))?.host).toBe(agent.host);
  }, WAIT);
  const before = agent.connections;
  await restartBroker();
  // What is sent to a host whose queue is not there again is lost as well.
  await vi.waitFor(() => expect(agent.connections).toBeGreaterThan(before), WAIT);
}
