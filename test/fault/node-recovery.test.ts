// What a killed process left is adopted, finished or removed at the next start; what cannot be explained is left alone.
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { FakeHypervisor, type FaultPoint } from '../../src/index.js';
import { type Bench, collect, makeBench, request, UUID } from './node-harness.js';

const OTHER = '11111111-2222-4333-8444-555555555555';

/**
 * The host as it is at this moment, on another path: what kill -9 would leave. The process it was taken from goes on,
 * and shares nothing with the copy.
 */
function kill9(bench: Bench): Bench {
  const after = makeBench(FakeHypervisor.load(bench.hypervisor.save()));
  cpSync(bench.path, after.path, { recursive: true });
  return after;
}

async function launched(): Promise<Bench> {
  const bench = makeBench();
  const node = await bench.open();
  await node.launch(request());
  return kill9(bench);
}

const journalOf = (bench: Bench, uuid = UUID): string => join(bench.path, 'journal', uuid);

describe('start-up after a kill', () => {
  const points: readonly FaultPoint[] = [
    'spawn',
    'spawn.image',
    'spawn.image.done',
    'spawn.definition',
    'spawn.definition.done',
    'spawn.network',
    'spawn.network.done',
    'spawn.start',
    'spawn.start.done',
  ];

  it.each(points)('rolls a launch back that died at %s', async (at) => {
    const bench = makeBench();
    const node = await bench.open();
    bench.faults.add({ at, hang: 'deaf' });
    void node.launch(request()).catch(() => undefined);
    await bench.faults.reached(at);
    const after = kill9(bench);
    const next = await after.open();
    expect(next.recoveries).toEqual([
      { uuid: UUID, action: 'rolled-back', reason: expect.stringContaining('interrupted in step') },
    ]);
    expect(after.left()).toEqual([]);
    expect((await next.report()).vcpus.used).toBe(0);
    expect((await next.launch(request())).info.powerState).toBe('running');
  });

  it('goes on with a termination that died, however far it had come', async () => {
    const bench = makeBench();
    const node = await bench.open();
    await node.launch(request());
    bench.faults.add({ at: 'destroy', hang: 'deaf' });
    void node.terminate(UUID).catch(() => undefined);
    await bench.faults.reached('destroy');
    const untouched = kill9(bench);
    const noDomain = kill9(bench);
    noDomain.hypervisor.undefine(UUID);
    const onlyJournal = kill9(bench);
    onlyJournal.hypervisor.undefine(UUID);
    rmSync(join(onlyJournal.path, UUID), { recursive: true });
    for (const after of [untouched, noDomain, onlyJournal]) {
      const next = await after.open();
      expect(next.recoveries).toEqual([
        { uuid: UUID, action: 'removed', reason: 'its termination was interrupted' },
      ]);
      expect(after.left()).toEqual([]);
    }
  });

  it('adopts what was whole, with its claim, and tells it by events', async () => {
    const after = await launched();
    const next = await after.open();
    const seen = collect(next);
    expect(next.recoveries).toEqual([
      { uuid: UUID, action: 'adopted', reason: 'its launch was complete, it is running' },
    ]);
    expect(await next.get(UUID)).toMatchObject({ uuid: UUID, displayName: 'guest', powerState: 'running' });
    const report = await next.report();
    expect([report.vcpus.used, report.memoryMb.used, report.diskGb.used]).toEqual([1, 512, 1]);
    await vi.waitFor(() => expect(seen).toHaveLength(1));
    expect(seen).toEqual([
      { type: 'recovered', timestamp: expect.any(Number), recovery: next.recoveries[0] },
    ]);
    await expect(next.launch(request())).rejects.toMatchObject({ code: 'INSTANCE_EXISTS' });
    await next.terminate(UUID);
    expect(after.left()).toEqual([]);
  });

  it('adopts an instance whose domain the hypervisor has lost, and starts it again when asked', async () => {
    const after = await launched();
    after.hypervisor.undefine(UUID);
    const next = await after.open();
    expect(next.recoveries[0]).toMatchObject({ action: 'adopted', reason: expect.stringContaining('lost') });
    expect((await next.get(UUID)).powerState).toBe('nostate');
    await next.start(UUID);
    expect((await next.get(UUID)).powerState).toBe('running');
  });

  it.each(['start', 'reboot'] as const)('finishes a %s that died', async (task) => {
    const bench = makeBench();
    const node = await bench.open();
    await node.launch(request());
    if (task === 'start') await node.shutdown(UUID);
    const at = task === 'start' ? 'powerOn' : 'reboot';
    bench.faults.add({ at, hang: 'deaf' });
    void (task === 'start' ? node.start(UUID) : node.reboot(UUID, 'hard')).catch(() => undefined);
    await bench.faults.reached(at);
    const after = kill9(bench);
    after.hypervisor.stop(UUID, 'destroyed');
    const next = await after.open();
    expect(next.recoveries[0]).toMatchObject({
      action: 'adopted',
      reason: `its ${task} was interrupted and is finished`,
    });
    expect((await next.get(UUID)).powerState).toBe('running');
    await next.close();
    expect((await after.open()).recoveries[0]?.reason).toContain('it is running');
  });

  it('leaves a stopped instance stopped', async () => {
    const bench = makeBench();
    const node = await bench.open();
    await node.launch(request());
    await node.reboot(UUID, 'hard');
    await node.shutdown(UUID);
    const after = kill9(bench);
    const next = await after.open();
    expect(next.recoveries[0]?.reason).toContain('it is shutdown');
    expect((await next.get(UUID)).powerState).toBe('shutdown');
  });

  it('recovers many at once, each for itself', async () => {
    const bench = makeBench();
    const node = await bench.open({ allocationRatios: { cpu: 100 } });
    const uuids = Array.from(
      { length: 30 },
      (_, i) => `${String(i).padStart(8, '0')}-2222-4333-8444-555555555555`,
    );
    await Promise.all(
      uuids.map((uuid) => node.launch(request({ uuid, flavor: { vcpus: 1, memoryMb: 64 } }))),
    );
    const after = kill9(bench);
    for (const uuid of uuids.slice(0, 10)) appendFileSync(journalOf(after, uuid), '{"event":"terminate"}\n');
    const next = await after.open();
    const actions = next.recoveries.map(({ action }) => action).sort();
    expect(actions).toEqual([...Array(20).fill('adopted'), ...Array(10).fill('removed')]);
    expect(next.recoveries).toHaveLength(30);
    expect((await next.list()).map(({ uuid }) => uuid).sort()).toEqual(uuids.slice(10));
    expect((await next.report()).vcpus.used).toBe(20);
  });
});

describe('start-up with traces that are damaged or not ours', () => {
  it('takes a line that was cut off for one that was never relied upon', async () => {
    const after = await launched();
    appendFileSync(journalOf(after), '{"at":"2026-01-01T00:00:00Z","event":"termi');
    expect((await after.open()).recoveries).toMatchObject([{ action: 'adopted' }]);
  });

  it.each(['', '{"at":"2026-01-01T00:00:00.000Z","event":"launch","inst'])(
    'drops a journal that had hardly begun: %j',
    async (text) => {
      const after = makeBench();
      await (await after.open()).close();
      writeFileSync(journalOf(after), text);
      expect((await after.open()).recoveries).toMatchObject([{ uuid: UUID, action: 'rolled-back' }]);
      expect(after.left()).toEqual([]);
    },
  );

  it.each([
    ['emptied', (path: string) => truncateSync(path, 0)],
    ['no JSON', (path: string) => writeFileSync(path, 'garbage\n')],
    ['zeros', (path: string) => writeFileSync(path, Buffer.alloc(512))],
    [
      'about another instance',
      (path: string) => writeFileSync(path, readFileSync(path, 'utf8').replaceAll(UUID, OTHER)),
    ],
    ['a foreign line', (path: string) => appendFileSync(path, '{"event":"explode"}\n')],
  ])('touches nothing of an instance whose journal is damaged (%s)', async (_what, damage) => {
    const after = await launched();
    const before = after.left();
    damage(journalOf(after));
    const next = await after.open();
    expect(next.recoveries).toMatchObject([{ uuid: UUID, action: 'left' }]);
    expect(await next.list()).toEqual([]);
    await expect(next.launch(request())).rejects.toMatchObject({ code: 'INSTANCE_EXISTS' });
    expect(after.left()).toEqual(before);
  });

  it('touches no directory and no domain without a journal', async () => {
    const after = await launched();
    rmSync(journalOf(after));
    mkdirSync(join(after.path, OTHER));
    writeFileSync(join(after.path, OTHER, 'disk'), 'precious');
    mkdirSync(join(after.path, '_base'));
    const next = await after.open();
    const reasons = new Map(
      next.recoveries.map(({ uuid, action, reason }) => [uuid, `${action}: ${reason}`]),
    );
    expect(reasons).toEqual(
      new Map([
        [UUID, 'left: a domain and directory without a journal: not made by this node'],
        [OTHER, 'left: a directory without a journal: not made by this node'],
      ]),
    );
    expect(existsSync(join(after.path, OTHER, 'disk'))).toBe(true);
    expect(after.hypervisor.domains.get(UUID)?.state).toBe('running');
    await next.terminate(UUID);
    expect(after.hypervisor.domains.get(UUID)?.state).toBe('running');
  });

  it('refuses a launch under a journal that cannot be read, and keeps it', async () => {
    const after = makeBench();
    await (await after.open()).close();
    writeFileSync(journalOf(after), 'garbage\n');
    const next = await after.open();
    await expect(next.launch(request())).rejects.toMatchObject({ code: 'INSTANCE_EXISTS' });
    expect(readFileSync(journalOf(after), 'utf8')).toBe('garbage\n');
    expect((await next.report()).vcpus.used).toBe(0);
  });

  it('keeps the claim of what it could not remove, and removes it when terminated', async () => {
    const after = await launched();
    appendFileSync(journalOf(after), '{"event":"terminate"}\n');
    after.faults.add({ at: 'destroy', fail: new Error('planted') });
    const next = await after.open();
    expect(next.recoveries).toMatchObject([{ action: 'failed', reason: expect.stringContaining('planted') }]);
    expect((await next.report()).memoryMb.used).toBe(512);
    await next.terminate(UUID);
    expect(after.left()).toEqual([]);
  });

  it('does not destroy a foreign domain for a launch that had not come to its first step', async () => {
    const after = await launched();
    const [first] = readFileSync(journalOf(after), 'utf8').split('\n');
    writeFileSync(journalOf(after), `${first}\n`);
    expect((await after.open()).recoveries).toMatchObject([{ action: 'rolled-back' }]);
    expect(after.hypervisor.domains.has(UUID)).toBe(true);
  });

  it('rewrites a journal that reboots have made long', async () => {
    const after = await launched();
    const pair = '{"event":"task","task":"reboot"}\n{"event":"done"}\n';
    appendFileSync(journalOf(after), pair.repeat(2000));
    await (await after.open()).close();
    expect(readFileSync(journalOf(after), 'utf8').length).toBeLessThan(5000);
    expect((await after.open()).recoveries).toMatchObject([{ action: 'adopted' }]);
  });

  it('never gives a number twice, also where the file of numbers is gone', async () => {
    const after = await launched();
    const first = [...after.hypervisor.domains.values()].map(({ instance }) => instance.id);
    const node = await after.open();
    await node.launch(request({ uuid: OTHER }));
    const second = after.hypervisor.domains.get(OTHER)?.instance.id;
    expect(first).not.toContain(second);
    await node.close();
    rmSync(join(after.path, 'sequence'));
    const next = await after.open();
    const third = '22222222-2222-4333-8444-555555555555';
    await next.launch(request({ uuid: third }));
    expect([...first, second]).not.toContain(after.hypervisor.domains.get(third)?.instance.id);
  });

  it.each(['copy', 'quiesce', 'convert', 'upload'] as const)(
    'undoes a snapshot that died in its step %s',
    async (step) => {
      for (const target of [{ type: 'glance' }, { type: 'file', path: '/images/new' }] as const) {
        const bench = makeBench();
        const node = await bench.open();
        await node.launch(request());
        bench.faults.add({ at: `snapshot.${step}`, hang: 'deaf' });
        void node.snapshot(UUID, target).catch(() => undefined);
        await bench.faults.reached(`snapshot.${step}`);
        const after = kill9(bench);
        expect(after.hypervisor.snapshots.size).toBe(1);
        const next = await after.open();
        expect(next.recoveries).toEqual([
          {
            uuid: UUID,
            action: 'adopted',
            reason: expect.stringMatching(/snapshot was interrupted and is undone; .*running/),
          },
        ]);
        expect(after.hypervisor.snapshots.size).toBe(0);
        expect((await next.snapshot(UUID, target)).how).toBe('live');
        expect([...after.hypervisor.snapshots.values()].map(({ state }) => state)).toEqual(['whole']);
      }
    },
  );

  it('adopts an instance whose snapshot cannot be undone, tells of it, and tries again at the next start', async () => {
    const bench = makeBench();
    const node = await bench.open();
    await node.launch(request());
    bench.faults.add({ at: 'snapshot.upload', hang: 'deaf' });
    void node.snapshot(UUID, { type: 'glance' }).catch(() => undefined);
    await bench.faults.reached('snapshot.upload');
    const after = kill9(bench);
    after.faults.add({ at: 'undoSnapshot', fail: new Error('no Glance') });
    const next = await after.open();
    expect(next.recoveries[0]?.reason).toMatch(/could not be undone: .*no Glance/);
    await next.reboot(UUID, 'hard');
    await next.close();
    const third = await after.open();
    expect(third.recoveries[0]?.reason).toMatch(/snapshot was interrupted and is undone/);
    expect(after.hypervisor.snapshots.size).toBe(0);
  });
});
