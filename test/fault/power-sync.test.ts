// Power states that no event told of: compared, told and taken down, and nothing is started or stopped for it.
import { describe, expect, it, vi } from 'vitest';
import { FakeDriver, type FakeDriverOptions, FakeHypervisor, registerDriver } from '../../src/index.js';
import { collect, makeBench, request, UUID } from './node-harness.js';

/** Loses the events of domains while it is deaf. */
class DeafDriver extends FakeDriver {
  constructor(options: FakeDriverOptions) {
    super(options);
    const publish = this.eventStream.publish.bind(this.eventStream);
    this.eventStream.publish = (event) =>
      deaf && event.type !== 'resynced' ? (event as never) : publish(event);
  }
  resynced(): void {
    this.eventStream.publish({ type: 'resynced', changes: [] });
  }
}

let deaf = false;
let driver: DeafDriver;
registerDriver('test.DeafDriver', (options) => {
  driver = new DeafDriver(options as FakeDriverOptions);
  return driver;
});

async function launched(powerSyncIntervalMs = 0) {
  deaf = false;
  const bench = makeBench(new FakeHypervisor({ vcpus: 8, memoryMb: 16_384, localGb: 100 }));
  const node = await bench.open({ driver: 'test.DeafDriver', powerSyncIntervalMs });
  await node.launch(request());
  return { bench, node, events: collect(node) };
}

const synced = (events: ReturnType<typeof collect>) => events.filter(({ type }) => type === 'power-sync');

describe('a guest that stopped while events were lost', () => {
  it('is told of once, and is not started again by a boot of the host', async () => {
    const { bench, node, events } = await launched();
    deaf = true;
    bench.hypervisor.stop(UUID, 'shutdown');
    driver.resynced();
    await vi.waitFor(() => expect(synced(events)).toHaveLength(1), 10_000);
    expect(synced(events)).toMatchObject([{ uuid: UUID, before: 'running', after: 'shutdown' }]);
    driver.resynced();
    await node.list();
    expect(synced(events)).toHaveLength(1);
    expect((await node.get(UUID)).powerState).toBe('shutdown');
    await node.close();
    const next = await bench.open({ resumeGuestsOnHostBoot: true });
    expect((await next.get(UUID)).powerState).toBe('shutdown');
  });

  it('is found by and by without any word', async () => {
    const { bench, events } = await launched(50);
    deaf = true;
    // The first comparison learns what there is.
    await vi.waitFor(() => expect(bench.hypervisor.domains.get(UUID)?.state).toBe('running'));
    bench.hypervisor.stop(UUID, 'shutdown');
    await vi.waitFor(() => expect(synced(events)).toHaveLength(1), 10_000);
  });
});

it('a stopped instance that somebody has started is left running, and counts as such after a boot of the host', async () => {
  const { bench, node, events } = await launched();
  await node.shutdown(UUID);
  deaf = true;
  bench.hypervisor.start(UUID, '');
  driver.resynced();
  await vi.waitFor(
    () => expect(synced(events)).toMatchObject([{ before: 'shutdown', after: 'running' }]),
    10_000,
  );
  await node.close();
  bench.hypervisor.stop(UUID, 'destroyed');
  const next = await bench.open({ resumeGuestsOnHostBoot: true });
  expect((await next.get(UUID)).powerState).toBe('running');
});

it('a shelved instance that somebody has started is not started by a boot of the host', async () => {
  const { bench, node, events } = await launched();
  await node.shelve(UUID, { shutdownTimeoutMs: 0 });
  deaf = true;
  bench.hypervisor.start(UUID, '');
  driver.resynced();
  await vi.waitFor(() => expect(synced(events)).toMatchObject([{ after: 'running' }]), 10_000);
  await node.close();
  bench.hypervisor.stop(UUID, 'destroyed');
  const next = await bench.open({ resumeGuestsOnHostBoot: true });
  expect(await next.get(UUID)).toMatchObject({ vmState: 'shelved', powerState: 'shutdown' });
});

it('what the node itself is at is no difference', async () => {
  const { bench, node, events } = await launched(20);
  for (let i = 0; i < 5; i += 1) {
    await node.shutdown(UUID, { shutdownTimeoutMs: 0 });
    await node.start(UUID);
  }
  bench.hypervisor.stop(UUID, 'crashed');
  await new Promise((resolve) => setTimeout(resolve, 1500));
  expect(synced(events)).toEqual([]);
  await node.close();
  // One that crashed did not mean to stop.
  const next = await bench.open({ resumeGuestsOnHostBoot: true });
  expect((await next.get(UUID)).powerState).toBe('running');
});
