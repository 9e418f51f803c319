// Bridges in a real kernel, seen with ip(8): made, shared, raced for, left after kill -9, and never taken from others.
import { describe, expect, it } from 'vitest';
import { inNamespace, missingForNamespaces } from './network-namespace.js';

const missing = missingForNamespaces();

describe('bridges', () => {
  const test = (name: string, body: () => Promise<void>): void =>
    it(name, async (context) => {
      if (missing) context.skip(missing);
      await body();
    });

  test('come with their first user, ready for taps, and go with their last', async () => {
    const seen = await inNamespace<{ made: boolean[]; link: Record<string, unknown>; left: boolean[] }>(`
      const bridges = new Bridges();
      const made = [];
      for (const user of ['a', 'b']) made.push(await bridges.acquire('br-test', { user, mtu: 1400 }));
      const link = look('br-test');
      addTap('tap-a', 'br-test');
      const left = [await bridges.release('br-test', 'a'), exists('br-test')];
      await hostLinks.removeTap('tap-a');
      left.push(await bridges.release('br-test', 'b'), exists('br-test'));
      tell({ made, link, left });
    `);
    expect(seen.made).toEqual([true, false]);
    expect(seen.left).toEqual([false, true, true, false]);
    expect(seen.link).toMatchObject({
      ifname: 'br-test',
      mtu: 1400,
      ifalias: 'node-compute',
      inet6_addr_gen_mode: 'none',
      linkinfo: { info_kind: 'bridge', info_data: { stp_state: 0, forward_delay: 0 } },
    });
    expect(seen.link['flags']).toContain('UP');
  });

  test('forward for a port as soon as it is up', async () => {
    const seen = await inNamespace<{ ports: string[]; states: string[]; master: string | undefined }>(`
      const bridges = new Bridges();
      await bridges.acquire('br-test', { user: 'a' });
      // Cables stand for guests: a tap has a carrier only while somebody holds it open.
      for (const n of ['1', '2']) {
        ip('link', 'add', 'guest' + n, 'type', 'veth', 'peer', 'name', 'port' + n);
        ip('link', 'set', 'port' + n, 'master', 'br-test', 'up');
        ip('link', 'set', 'guest' + n, 'up');
      }
      const states = ['port1', 'port2'].map((port) => look(port).linkinfo.info_slave_data.state);
      tell({
        states,
        ports: await hostLinks.listBridgePorts('br-test'),
        master: (await hostLinks.getLink('port1')).master,
      });
    `);
    // Forwarding at once: no listening and learning for half a minute, in which a guest would get no address.
    expect(seen).toEqual({
      ports: ['port1', 'port2'],
      states: ['forwarding', 'forwarding'],
      master: 'br-test',
    });
  });

  test('of an operator are used, and stay with everything that was set on them', async () => {
    const seen = await inNamespace<{ before: unknown; after: unknown; removed: boolean; up: boolean }>(`
      ip('link', 'add', 'br-own', 'type', 'bridge', 'stp_state', '1');
      ip('link', 'set', 'br-own', 'mtu', '1300');
      const facts = () => {
        const { mtu, address, linkinfo, inet6_addr_gen_mode } = look('br-own');
        return { mtu, address, inet6_addr_gen_mode, stp: linkinfo.info_data.stp_state };
      };
      const before = facts();
      const bridges = new Bridges();
      await bridges.acquire('br-own', { user: 'a', mtu: 9000 });
      const up = look('br-own').flags.includes('UP');
      const removed = await bridges.release('br-own', 'a');
      tell({ before, after: facts(), removed, up });
    `);
    expect(seen.after).toEqual(seen.before);
    expect(seen).toMatchObject({ removed: false, up: true });
  });

  test('of a process that was killed are known as ours, and go when the last port has gone', async () => {
    const seen = await inNamespace<{ withPort: boolean; without: boolean; exists: boolean }>(`
      const killed = start(\`
        await new Bridges().acquire('br-test', { user: 'a' });
        addTap('tap-a', 'br-test');
        tell('ready');
        setInterval(() => {}, 1000);
      \`);
      await once(killed.stdout, 'data');
      killed.kill('SIGKILL');
      await once(killed, 'close');
      const bridges = new Bridges();
      const withPort = await bridges.release('br-test', 'a');
      await hostLinks.removeTap('tap-a');
      const without = await bridges.release('br-test', 'a');
      tell({ withPort, without, exists: exists('br-test') });
    `);
    expect(seen).toEqual({ withPort: false, without: true, exists: false });
  });

  test('are made once when several processes make them at once', async () => {
    const seen = await inNamespace<{ made: number[]; aliases: string[] }>(`
      const children = Array.from({ length: 4 }, () => start(\`
        const bridges = new Bridges();
        const made = [];
        for (let n = 0; n < 20; n += 1) made.push(await bridges.acquire('br' + n, { user: 'a' }));
        tell(made);
      \`));
      const answers = await Promise.all(children.map(answer));
      const made = Array.from({ length: 20 }, (_, n) => answers.filter((list) => list[n]).length);
      tell({ made, aliases: made.map((_, n) => look('br' + n).ifalias) });
    `);
    expect(seen.made).toEqual(Array(20).fill(1));
    expect(seen.aliases).toEqual(Array(20).fill('node-compute'));
  });
});

describe('a failure', () => {
  it('is NETWORK_FAILED with its errno, and leaves what has the name', async (context) => {
    if (missing) context.skip(missing);
    const seen = await inNamespace<Record<string, unknown>[]>(`
      addTap('tap-a');
      const errors = [
        await codeOf(new Bridges().acquire('tap-a', { user: 'a' })),
        await codeOf(hostLinks.removeBridge('tap-a')),
        await codeOf(hostLinks.removeTap('lo')),
        await codeOf(hostLinks.listBridgePorts('none')),
        await codeOf(hostLinks.ensureBridge('a/b', 0)),
      ];
      // Not process.setuid(): some builds of Node.js refuse it, as io_uring might be in use (CVE-2024-22017).
      const without = ['setpriv', '--bounding-set=-net_admin', '--inh-caps=-net_admin'];
      const unprivileged = await answer(start(\`
        const error = await codeOf(new Bridges().acquire('br-test', { user: 'a' }));
        tell({ code: error.code, message: error.message, ...error.details });
      \`, without));
      tell([...errors.map((error) => ({ code: error.code, message: error.message, ...error.details })), unprivileged,
        { exists: exists('tap-a') && exists('lo') && !exists('br-test') }]);
    `);
    expect(seen).toMatchObject([
      { code: 'NETWORK_FAILED', errno: 17, link: 'tap-a' },
      { code: 'NETWORK_FAILED', errno: 22, link: 'tap-a' },
      { code: 'NETWORK_FAILED', errno: 22, link: 'lo' },
      { code: 'NETWORK_FAILED', errno: 19, link: 'none' },
      { code: 'INVALID_ARGUMENT' },
      { code: 'NETWORK_FAILED', errno: 1, message: expect.stringContaining('CAP_NET_ADMIN') },
      { exists: true },
    ]);
  });
});

describe('the event loop', () => {
  it('turns while the kernel takes its time to remove links', async (context) => {
    if (missing) context.skip(missing);
    const seen = await inNamespace<{ elapsedMs: number; longestMs: number }>(`
      const bridges = new Bridges();
      for (let n = 0; n < 10; n += 1) await bridges.acquire('br' + n, { user: 'a' });
      let longestMs = 0;
      let last = performance.now();
      const began = last;
      const timer = setInterval(() => {
        const now = performance.now();
        longestMs = Math.max(longestMs, now - last);
        last = now;
      }, 1);
      for (let n = 0; n < 10; n += 1) await bridges.release('br' + n, 'a');
      clearInterval(timer);
      tell({ elapsedMs: performance.now() - began, longestMs });
    `);
    // On the JavaScript thread the ten removals would be ten pauses, or one.
    expect(seen.longestMs).toBeLessThan(seen.elapsedMs / 5);
  });
});
