// Ten thousand hostile messages, 500 a second, while servers of a real Nova are booted and deleted on the same host.
import { afterAll, afterEach, beforeAll, expect, it, onTestFinished, vi } from 'vitest';
import { AmqpBroker } from '../../src/agent/amqp-broker.js';
import { flood } from '../agent/flood.js';
import { AgentProcess } from './agent-process.js';
import { boot, endpoints, gone, remove, rig, settled } from './control-plane.js';

const LONG = 900_000;
const TINY = 1;
const SERVERS = 50;
const AT_ONCE = 5;
const MOST_GROWTH_MIB = 300;
let agent: AgentProcess;

beforeAll(async () => {
  rig('image.sh');
  agent = new AgentProcess(`nco-hostile-${process.pid}`);
  await agent.start();
}, LONG);

afterAll(() => agent?.remove(), LONG);

afterEach(({ task }) => {
  if (task.result?.state === 'fail') console.log(agent.troubles());
});

it('fifty servers become active and are deleted; the agent lives, and keeps nothing', {
  timeout: LONG,
}, async () => {
  const broker = new AmqpBroker({ url: endpoints.OS_AMQP_URL });
  onTestFinished(() => broker.close());
  const before = agent.residentMib;
  const flooding = flood({ broker, host: agent.host, messages: 10_000, perSecond: 500 });
  flooding.catch(() => undefined);
  for (let booted = 0; booted < SERVERS; booted += AT_ONCE) {
    const names = Array.from({ length: AT_ONCE }, (_, index) => `hostile-${booted + index}`);
    const ids = await Promise.all(names.map((name) => boot(name, agent.host, endpoints.RIG_IMAGE_ID, TINY)));
    for (const id of ids) await settled(id, 'active', 300_000);
    await Promise.all(ids.map(remove));
    for (const id of ids) await gone(id, 300_000);
  }
  await flooding;
  await vi.waitFor(() => expect(agent.leftovers()).toEqual([]), { timeout: 300_000, interval: 200 });
  expect(agent.isAlive).toBe(true);
  expect(agent.residentMib - before).toBeLessThan(MOST_GROWTH_MIB);
  expect(agent.log).not.toContain('set-aside');
});
