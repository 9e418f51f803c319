import { expect, it } from 'vitest';
import { LibvirtError } from '../../../src/driver/errors.js';
import { GuestAgent } from '../../../src/libvirt/guest-agent.js';
import type { NativeDomain } from '../../../src/native.js';

const UUID = '6f2d1c3e-58a4-4b7e-9a31-0c9d5e7f1a2b';
const silent = { debug() {}, info() {}, warn() {}, error() {} };

function libvirtError(libvirtCode: number): LibvirtError {
  const none = { str1: null, str2: null, str3: null, int1: 0, int2: 0 };
  return new LibvirtError('HYPERVISOR', 'planted', { libvirtCode, libvirtDomain: 10, level: 2, ...none });
}

/** An agent whose answers fail with these codes of libvirt, one after the other, and then succeed. */
function agent(...codes: number[]) {
  const asked: string[] = [];
  const answer = async (what: string): Promise<number> => {
    asked.push(what);
    const code = codes.shift();
    if (code !== undefined) throw libvirtError(code);
    return 1;
  };
  const domain = {
    uuid: UUID,
    info: async () => ({ state: 1, saved: false }),
    guestTime: (seconds: number) => answer(`ping ${seconds}`),
    setGuestTime: () => answer('time'),
    setUserPassword: (user: string, password: string) => answer(`password ${user} ${password}`),
  } as unknown as NativeDomain;
  const hypervisor = {
    domain: async () => domain,
    onDomain: async (one: NativeDomain, _context: unknown, run: (d: NativeDomain, id: number) => unknown) =>
      await run(one, 0),
  };
  return { agent: new GuestAgent(hypervisor as never, silent), domain, asked };
}

it.each([
  [74, 'AGENT_UNAVAILABLE', false, 'none'],
  [86, 'AGENT_UNAVAILABLE', true, 'silent'],
  [97, 'AGENT_UNAVAILABLE', true, 'silent'],
  [1, 'AGENT_FAILED', false, undefined],
])('tells libvirt error %i as %s', async (code, expected, retryable, reason) => {
  const error = await agent(code)
    .agent.ping(UUID, {})
    .catch((e: unknown) => e);
  expect(error).toMatchObject({ code: expected, retryable, operation: 'pingAgent', instanceUuid: UUID });
  expect((error as LibvirtError).details['reason']).toBe(reason);
});

it('gives the agent whole seconds, never none', async () => {
  const one = agent();
  for (const timeoutMs of [1, 1000, 1001, undefined]) await one.agent.ping(UUID, { timeoutMs });
  expect(one.asked).toEqual(['ping 1', 'ping 1', 'ping 2', 'ping 10']);
});

it('sets the password of root, of the Administrator of Windows, or of whom it is told', async () => {
  const one = agent();
  const instance = (properties: Record<string, string>) => ({ uuid: UUID, image: { properties } }) as never;
  await one.agent.setAdminPassword(instance({}), 'p', {});
  await one.agent.setAdminPassword(instance({ os_type: 'windows' }), 'p', {});
  await one.agent.setAdminPassword(instance({ os_type: 'windows' }), 'p', { user: 'me' });
  expect(one.asked).toEqual(['password root p', 'password Administrator p', 'password me p']);
});

it('asks a silent agent for the time again while it is patient, another one once', async () => {
  const context = { operation: 'resume', instanceUuid: UUID };
  const waking = agent(86, 86);
  await waking.agent.setTimeByTheWay(waking.domain, 5_000, context);
  expect(waking.asked).toEqual(['time', 'time', 'time']);
  for (const [code, patienceMs] of [
    [86, 0],
    [74, 5_000],
    [1, 5_000],
  ] as const) {
    const one = agent(code);
    await one.agent.setTimeByTheWay(one.domain, patienceMs, context);
    expect(one.asked).toEqual(['time']);
  }
});
