// Every state that an instance can be in, each met with what may come then: a look, a termination, a boot of the host.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { ComputeNode, ComputeNodeOptions, LaunchRequest } from '../../src/index.js';
import { type Bench, collect, kill9, makeBench, request, UUID } from './node-harness.js';

const SPECS = { 'hw:cpu_policy': 'dedicated', 'node_compute:max_vcpus': '2' };
const SMALL = { vcpus: 2, memoryMb: 512, rootGb: 1, extraSpecs: SPECS };
const LARGE = { vcpus: 3, memoryMb: 1024, rootGb: 3, extraSpecs: SPECS };
const OPTIONS: Partial<ComputeNodeOptions> = { dedicatedCpus: [2, 3, 4, 5, 6, 7] };
const IMAGE = { ...request().image, id: 'other' };
const VOLUME = { driverVolumeType: 'file', data: { path: '/volumes/a', format: 'raw' } } as const;
const AT_ONCE = { shutdownTimeoutMs: 0 };
const ASKED: LaunchRequest = {
  ...request({ flavor: SMALL }),
  networks: [{ networkId: '7a3c1f52-0d7e-4b57-9a55-6d0b7f1f2a3b', physicalInterface: 'eth9', vlan: 7 }],
};

interface State {
  readonly enter: (node: ComputeNode, bench: Bench) => Promise<unknown>;
  readonly view: readonly [vmState: string, powerState: string];
  /** CPUs of its own, memory in MiB, disk in GiB. */
  readonly used: readonly [number, number, number];
  /** After a boot of the host. */
  readonly booted?: string;
  readonly flavor?: object;
}

const claimed = [2, 512, 1] as const;
const states: Readonly<Record<string, State>> = {
  active: { enter: async () => {}, view: ['active', 'running'], used: claimed, booted: 'running' },
  paused: {
    enter: (node) => node.pause(UUID),
    view: ['paused', 'paused'],
    used: claimed,
    booted: 'running',
  },
  stopped: { enter: (node) => node.shutdown(UUID), view: ['stopped', 'shutdown'], used: claimed },
  suspended: {
    enter: (node) => node.suspend(UUID),
    view: ['suspended', 'suspended'],
    used: claimed,
    booted: 'suspended',
  },
  rescued: {
    enter: (node) => node.rescue(UUID, { image: IMAGE, ...AT_ONCE }),
    view: ['rescued', 'running'],
    used: claimed,
    booted: 'running',
  },
  'rescued, stopped': {
    enter: async (node) => {
      await node.rescue(UUID, AT_ONCE);
      await node.shutdown(UUID);
    },
    view: ['rescued', 'shutdown'],
    used: claimed,
  },
  rebuilt: {
    enter: (node) => node.rebuild(UUID, { image: IMAGE }, AT_ONCE),
    view: ['active', 'running'],
    used: claimed,
    booted: 'running',
  },
  resized: {
    enter: (node) => node.resize(UUID, LARGE, AT_ONCE),
    view: ['resized', 'running'],
    used: [5, 1536, 4],
    booted: 'running',
    flavor: LARGE,
  },
  reverted: {
    enter: async (node) => {
      await node.resize(UUID, LARGE, AT_ONCE);
      await node.shutdown(UUID);
      await node.revertResize(UUID);
    },
    view: ['active', 'running'],
    used: claimed,
    booted: 'running',
  },
  'reverted, stopped': {
    enter: async (node) => {
      await node.shutdown(UUID);
      await node.resize(UUID, LARGE, AT_ONCE);
      await node.start(UUID);
      await node.revertResize(UUID);
    },
    view: ['stopped', 'shutdown'],
    used: claimed,
  },
  shelved: { enter: (node) => node.shelve(UUID, AT_ONCE), view: ['shelved', 'shutdown'], used: claimed },
  'shelved, started by somebody': {
    enter: async (node, { hypervisor }) => {
      await node.shelve(UUID, AT_ONCE);
      hypervisor.start(UUID, '');
    },
    view: ['shelved', 'running'],
    used: claimed,
  },
  offloaded: {
    enter: (node) => node.shelve(UUID, { image: IMAGE, offload: true, ...AT_ONCE }),
    view: ['shelved_offloaded', 'nostate'],
    used: [0, 0, 0],
    booted: 'nostate',
  },
  unshelved: {
    enter: async (node) => {
      await node.shelve(UUID, { image: IMAGE, offload: true, ...AT_ONCE });
      await node.unshelve(UUID);
    },
    view: ['active', 'running'],
    used: claimed,
    booted: 'running',
  },
};
const everyState = Object.entries(states);

async function inState(
  { enter }: State,
  options: Partial<ComputeNodeOptions> = {},
): Promise<{ bench: Bench; node: ComputeNode }> {
  const bench = makeBench();
  const node = await bench.open({ ...OPTIONS, ...options });
  await node.launch(ASKED);
  await node.attachVolume(UUID, VOLUME);
  await enter(node, bench);
  return { bench, node };
}

async function used(node: ComputeNode): Promise<readonly number[]> {
  const { pcpus, memoryMb, diskGb } = await node.report();
  return [pcpus?.used ?? 0, memoryMb.used, diskGb.used];
}

describe.each(everyState)('an instance that is %s', (name, state) => {
  it('is told of as that, with what it has, also by a reporter and after a restart', async () => {
    const { bench, node } = await inState(state);
    const next = await kill9(bench).open(OPTIONS);
    for (const one of [node, next]) {
      const [vmState, powerState] = state.view;
      const view = await one.get(UUID);
      expect(view).toMatchObject({ vmState, powerState, flavor: state.flavor ?? SMALL, task: undefined });
      expect(await one.list()).toEqual([view]);
      expect(view.volumes).toMatchObject([{ device: 'vdb' }]);
      expect(await used(one)).toEqual(state.used);
      const reporter = await one.reporter({ intervalMs: 3_600_000 });
      const [pcpus, memoryMb, diskGb] = state.used;
      expect(reporter.report.instances).toMatchObject([{ uuid: UUID, powerState, pcpus, memoryMb, diskGb }]);
      await reporter.close();
    }
  });

  it('stands where its claim has it', async () => {
    const { bench, node } = await inState(state);
    const other = await node
      .launch({ ...ASKED, uuid: crypto.randomUUID(), networks: [] })
      .catch(() => 'full');
    expect(other === 'full').toBe(state.used[0] > 4);
    const places = [...bench.hypervisor.domains.values()].map(
      ({ instance }) => instance.placement?.dedicated,
    );
    for (const place of places) expect(place?.every((cpu) => cpu >= 2)).toBe(true);
    const cpus = places.flat();
    expect(new Set(cpus).size).toBe(cpus.length);
    const own = bench.hypervisor.domains.get(UUID)?.instance;
    if (own) expect(own.placement?.dedicated).toHaveLength((state.flavor ?? SMALL) === LARGE ? 3 : 2);
  });

  it('is terminated, and nothing is left', async () => {
    const { bench, node } = await inState(state);
    const after = kill9(bench);
    const next = await after.open(OPTIONS);
    for (const [one, where] of [
      [node, bench],
      [next, after],
    ] as const) {
      await one.terminate(UUID);
      expect(where.left()).toEqual([]);
      expect(readdirSync(join(where.path, 'journal'))).toEqual([]);
      expect(await used(one)).toEqual([0, 0, 0]);
      expect(await one.list()).toEqual([]);
      expect([...where.hypervisor.rescued, ...where.hypervisor.resizes]).toEqual([]);
    }
  });

  it('runs after a boot of the host where it is meant to', async () => {
    const { bench, node } = await inState(state);
    await node.close();
    bench.hypervisor.stop(UUID, 'destroyed');
    const next = await bench.open({ ...OPTIONS, resumeGuestsOnHostBoot: true });
    const [vmState] = state.view;
    const { booted = 'shutdown', flavor = SMALL } = state;
    expect((await next.get(UUID)).powerState).toBe(booted);
    if (booted === 'running')
      expect((await next.get(UUID)).vmState).toBe(vmState === 'paused' ? 'active' : vmState);
    expect(bench.hypervisor.domains.get(UUID)?.instance.flavor ?? flavor).toMatchObject(flavor);
    expect(bench.hypervisor.taps.size).toBe(booted === 'running' ? 1 : 0);
  });

  it('keeps the images that it needs, and those alone', async () => {
    const { bench, node } = await inState(state);
    await node.cacheImage({ ...IMAGE, id: 'needless' });
    await node.manageImageCache();
    const needed: Readonly<Record<string, readonly string[]>> = {
      rescued: ['image', 'other'],
      rebuilt: ['other'],
      offloaded: [],
      unshelved: ['other'],
    };
    expect([...bench.hypervisor.images].sort()).toEqual(needed[name] ?? ['image']);
  });
});

describe('what was under way', () => {
  it.each(['snapshot.convert', 'snapshot.upload'] as const)(
    'a snapshot in %s is cut short by a termination, and leaves no image',
    async (at) => {
      const { bench, node } = await inState(states['active'] as State);
      bench.faults.add({ at, hang: 'abortable' });
      const snapshot = node.snapshot(UUID, { type: 'glance' }).catch((error: unknown) => error);
      await bench.faults.reached(at);
      await node.terminate(UUID);
      expect(await snapshot).toMatchObject({ code: 'ABORTED' });
      expect(bench.hypervisor.snapshots.size).toBe(0);
      expect(bench.left()).toEqual([]);
      expect(await used(node)).toEqual([0, 0, 0]);
    },
  );

  it('an unshelve keeps its image while it has no disk yet', async () => {
    const { bench, node } = await inState(states['offloaded'] as State);
    bench.faults.add({ at: 'spawn.image.done', hang: 'deaf' });
    const unshelve = node.unshelve(UUID);
    await bench.faults.reached('spawn.image.done');
    await node.manageImageCache();
    expect([...bench.hypervisor.images]).toContain('other');
    bench.faults.release();
    await unshelve;
  });

  it('a confirmation and a change of size end, and then the guest runs as before the boot', async () => {
    for (const kind of ['confirming', 'live'] as const) {
      const bench = makeBench();
      const node = await bench.open();
      await node.launch(request({ flavor: { ...SMALL, extraSpecs: { 'node_compute:max_vcpus': '4' } } }));
      if (kind === 'confirming') await node.resize(UUID, LARGE_FREE, AT_ONCE);
      const at = kind === 'confirming' ? 'confirmMigration' : 'liveResize.changing';
      bench.faults.add({ at, hang: 'deaf' });
      const cut = kind === 'confirming' ? node.confirmResize(UUID) : node.liveResize(UUID, { vcpus: 4 });
      void cut.catch(() => undefined);
      await bench.faults.reached(at);
      for (const lost of [false, true]) {
        const after = kill9(bench);
        after.hypervisor.stop(UUID, 'destroyed');
        if (lost) after.hypervisor.undefine(UUID);
        const next = await after.open({ resumeGuestsOnHostBoot: true });
        const vcpus = kind === 'confirming' ? 3 : 2;
        expect(await next.get(UUID)).toMatchObject({
          powerState: 'running',
          resize: undefined,
          flavor: { vcpus },
        });
        expect((await next.report()).vcpus.used).toBe(vcpus);
      }
      bench.faults.release();
      await cut;
    }
  });
});

const LARGE_FREE = { vcpus: 3, memoryMb: 1024, rootGb: 3 };

it('a rebuild to an image that wants other CPUs or cells is refused, and changes nothing', async () => {
  const { bench, node } = await inState(states['active'] as State);
  const before = bench.hypervisor.domains.get(UUID);
  const image = { ...IMAGE, properties: { hw_numa_nodes: '2' } };
  await expect(node.rebuild(UUID, { image }, AT_ONCE)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  expect(bench.hypervisor.domains.get(UUID)).toEqual(before);
  expect(await used(node)).toEqual(claimed);
});

it('no comparison of power states finds anything in any of them', async () => {
  const nodes = await Promise.all(
    everyState.map(async ([name, state]) => {
      const { bench, node } = await inState(state, { powerSyncIntervalMs: 20 });
      const events = collect(node);
      const journal = (): string => readFileSync(join(bench.path, 'journal', UUID), 'utf8');
      return { name, events, journal, before: journal() };
    }),
  );
  // Longer than a difference has to last.
  await sleep(1500);
  for (const { name, events, journal, before } of nodes) {
    expect([name, events.some(({ type }) => type === 'power-sync'), journal()]).toEqual([
      name,
      false,
      before,
    ]);
  }
});
