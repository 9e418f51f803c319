// Bridges that reach a network of the host, in a real kernel: joined, refused, raced for, let go.
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { type NetworkFeatures, networkFeatures } from '../../src/network/features.js';
import { inNamespace, missingForNamespaces } from './network-namespace.js';

const missing = missingForNamespaces();
let features: NetworkFeatures | undefined;

beforeAll(async () => {
  features = missing ? undefined : await networkFeatures();
});

/** A cable whose one end stands for a network card. */
const CARD = `
  ip('link', 'add', 'eth1', 'type', 'veth', 'peer', 'name', 'switch1');
  const bridges = new Bridges();
  const uplink = { physicalInterface: 'eth1' };
  const vlan = { physicalInterface: 'eth1', vlan: 101 };
  const told = (error) => error && { code: error.code, message: error.message, ...error.details };
`;

it('docs/network.md: the example makes taps on a bridge', async ({ skip }) => {
  if (missing) skip(missing);
  const page = readFileSync(new URL('../../docs/network.md', import.meta.url), 'utf8');
  const code = [...page.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].at(-1)?.[1] ?? '';
  const index = JSON.stringify(new URL('../../dist/index.js', import.meta.url).href);
  // The prelude has the one already.
  const script = code.replace(
    /^import \{ hostLinks, (.*) \} from .*$/m,
    `const { $1 } = await import(${index});`,
  );
  const seen = await inNamespace<Record<string, unknown>>(`${script}
    const { master, mtu, linkinfo } = look('tap-two');
    tell({ made, vlans, master, mtu, queues: linkinfo.info_data.multi_queue });
  `);
  const tap = { master: 'br-vms', mtu: 1450, queues: true };
  expect(seen).toEqual({ made: ['tap-one', 'tap-two'], vlans: features?.vlan, ...tap });
});

describe('an interface of the host', () => {
  const test = (name: string, body: () => Promise<void>): void =>
    it(name, async (context) => {
      if (missing) context.skip(missing);
      await body();
    });

  test('is a port of the bridge as long as it has users, up, and then as it was', async () => {
    const seen = await inNamespace<Record<string, unknown>>(`${CARD}
      for (const user of ['a', 'b', 'a']) await bridges.acquire('brq1', { user, mtu: 1400, uplink });
      const joined = look('eth1');
      const kept = await bridges.release('brq1', 'a', uplink);
      addTap('tap-a', 'brq1');
      const withPort = await new Bridges().release('brq1', 'b', uplink);
      const still = look('eth1').master;
      await hostLinks.removeTap('tap-a');
      const removed = await new Bridges().release('brq1', 'b', uplink);
      tell({ joined: [joined.master, joined.flags.includes('UP'), joined.mtu], kept, withPort, still, removed,
        after: [look('eth1').master ?? '', exists('brq1')] });
    `);
    expect(seen).toEqual({
      joined: ['brq1', true, 1500],
      kept: false,
      withPort: false,
      still: 'brq1',
      removed: true,
      after: ['', false],
    });
  });

  test('that has addresses is refused, unless they are given up, and nothing is left', async () => {
    const seen = await inNamespace<Record<string, unknown>[]>(`${CARD}
      ip('address', 'add', '192.0.2.1/24', 'dev', 'eth1');
      ip('address', 'add', '2001:db8::1/64', 'dev', 'eth1');
      ip('link', 'set', 'switch1', 'up');
      ip('link', 'set', 'eth1', 'up');
      const refused = told(await codeOf(bridges.acquire('brq1', { user: 'a', uplink })));
      const small = told(await codeOf(bridges.acquire('brq1', { user: 'a', uplink, mtu: 9000 })));
      const none = { physicalInterface: 'eth9' };
      const gone = told(await codeOf(bridges.acquire('brq1', { user: 'a', uplink: none })));
      const left = exists('brq1');
      await bridges.acquire('brq1', { user: 'a', uplink: { ...uplink, evenWithAddresses: true } });
      tell([refused, small, gone, { left, master: look('eth1').master }]);
    `);
    expect(seen).toMatchObject([
      { code: 'NETWORK_FAILED', message: expect.stringMatching(/192\.0\.2\.1\/24.*evenWithAddresses/) },
      { code: 'NETWORK_FAILED', message: expect.stringContaining('ip link set eth1 mtu 9000') },
      { code: 'NETWORK_FAILED', message: expect.stringContaining('eth9') },
      { left: false, master: 'brq1' },
    ]);
  });

  test('is joined once when several processes join it at once', async () => {
    const seen = await inNamespace<{ answers: string[]; ports: string[] }>(`${CARD}
      const children = Array.from({ length: 4 }, () => start(\`
        const options = { user: 'a', mtu: 1400, uplink: { physicalInterface: 'eth1' } };
        tell(await new Bridges().acquire('brq1', options).then(() => 'joined', (error) => error.message));
      \`));
      const answers = await Promise.all(children.map(answer));
      tell({ answers, ports: await hostLinks.listBridgePorts('brq1') });
    `);
    expect(seen).toEqual({ answers: Array(4).fill('joined'), ports: ['eth1'] });
  });

  it('is left alone by a kernel without 802.1Q when a VLAN of it is wanted, which is told', async ({
    skip,
  }) => {
    if (missing) skip(missing);
    if (features?.vlan) skip('this kernel has 802.1Q VLANs');
    const seen = await inNamespace<Record<string, unknown>>(`${CARD}
      const error = told(await codeOf(bridges.acquire('brq1', { user: 'a', uplink: vlan })));
      tell({ ...error, left: exists('brq1') || exists('eth1.101') });
    `);
    expect(seen).toMatchObject({ code: 'NETWORK_FAILED', errno: 95, link: 'eth1.101', left: false });
    expect(seen['message']).toContain('doctor');
  });

  it('has a sub-interface for each VLAN, which goes with its bridge', async ({ skip }) => {
    if (missing) skip(missing);
    if (!features?.vlan) skip('this kernel has no 802.1Q VLANs (CONFIG_VLAN_8021Q)');
    const seen = await inNamespace<Record<string, unknown>>(`${CARD}
      for (const user of ['a', 'b']) await bridges.acquire('brq1', { user, mtu: 1400, uplink: vlan });
      const { master, mtu, ifalias, linkinfo } = look('eth1.101');
      const second = told(await codeOf(bridges.acquire('brq2', { user: 'c', uplink: vlan })));
      for (const user of ['a', 'b']) await new Bridges().release('brq1', user, vlan);
      tell({ master, mtu, ifalias, id: linkinfo.info_data.id, code: second.code,
        left: ['brq1', 'brq2', 'eth1.101'].filter(exists), card: exists('eth1') });
    `);
    expect(seen).toEqual({
      master: 'brq1',
      mtu: 1400,
      ifalias: 'node-compute',
      id: 101,
      code: 'NETWORK_FAILED',
      left: [],
      card: true,
    });
  });
});
