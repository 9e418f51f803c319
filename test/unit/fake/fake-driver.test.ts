// What FakeDriver has beyond the contract: faults at the Nth time, a machine that outlives it, image fetches that join.
import { randomUUID } from 'node:crypto';
import { describe, expect, it, vi } from 'vitest';
import { FakeDriver, FakeHypervisor, Faults, type Instance, instanceName } from '../../../src/index.js';

let lastId = 0;

function makeInstance(): Instance {
  lastId += 1;
  return {
    uuid: randomUUID(),
    id: lastId,
    name: instanceName(lastId),
    displayName: 'guest',
    flavor: { name: 'tiny', vcpus: 2, memoryMb: 64, rootGb: 3, ephemeralGb: 0, swapMb: 0, extraSpecs: {} },
    image: { id: 'image', diskFormat: 'raw', source: { type: 'file', path: '/image' }, properties: {} },
    vifs: [],
    createdAt: new Date().toISOString(),
  };
}

async function open(options: ConstructorParameters<typeof FakeDriver>[0] = {}): Promise<FakeDriver> {
  const driver = new FakeDriver(options);
  await driver.initHost();
  return driver;
}

describe('faults', () => {
  it('strike the Nth time, as often as asked, and only the instance that is named', async () => {
    const faults = new Faults([{ at: 'getInfo', nth: 2, times: 2, fail: new Error('planted') }]);
    const driver = await open({ faults });
    const instance = makeInstance();
    await driver.spawn(instance);
    const outcomes: string[] = [];
    for (let i = 0; i < 5; i++) {
      outcomes.push(
        await driver.getInfo(instance.uuid).then(
          () => 'ok',
          (error: { code: string }) => error.code,
        ),
      );
    }
    expect(outcomes).toEqual(['ok', 'HYPERVISOR', 'HYPERVISOR', 'ok', 'ok']);
    faults.add({ at: 'pause', uuid: randomUUID(), fail: new Error('planted') });
    await driver.pause(instance.uuid);
  });

  it('are forgotten when cleared, and a deaf call goes on when released', async () => {
    const faults = new Faults();
    const driver = await open({ faults });
    faults.add({ at: 'listInstances', fail: new Error('planted') });
    faults.clear();
    expect(await driver.listInstances()).toEqual([]);
    faults.add({ at: 'listInstances', hang: 'deaf' });
    const controller = new AbortController();
    const list = driver.listInstances({ signal: controller.signal });
    await faults.reached('listInstances');
    controller.abort();
    let settled = false;
    const outcome = list
      .catch((error: { code: string }) => error.code)
      .finally(() => {
        settled = true;
      });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(settled).toBe(false);
    faults.release();
    expect(await outcome).toBe('ABORTED');
  });

  it('delay a call within its deadline', async () => {
    const driver = await open({ faults: new Faults([{ at: 'listInstances', delayMs: 5_000 }]) });
    await expect(driver.listInstances({ timeoutMs: 20 })).rejects.toMatchObject({ code: 'TIMEOUT' });
  });
});

describe('the hypervisor', () => {
  it('outlives its driver, also as JSON', async () => {
    const hypervisor = new FakeHypervisor({ vcpus: 4 });
    const first = await open({ hypervisor });
    const instance = makeInstance();
    await first.spawn(instance);
    await first.close();
    const same = await open({ hypervisor });
    expect((await same.getInfo(instance.uuid)).powerState).toBe('running');
    const state = JSON.parse(JSON.stringify(hypervisor.save()));
    const copy = await open({ hypervisor: FakeHypervisor.load(state) });
    expect(await copy.listInstances()).toEqual([
      { uuid: instance.uuid, name: instance.name, powerState: 'running' },
    ]);
    await copy.destroy(instance);
    expect(await copy.listInstances()).toEqual([]);
    expect(await same.instanceExists(instance.uuid)).toBe(true);
    const next = makeInstance();
    const before = (await same.getInfo(instance.uuid)).domainId;
    expect((await copy.spawn(next)).info.domainId).toBeGreaterThan(before);
  });

  it('tells every change, and a crash of a guest is seen as an event and a state', async () => {
    let changes = 0;
    const hypervisor = new FakeHypervisor({}, undefined, () => {
      changes += 1;
    });
    const driver = await open({ hypervisor });
    const instance = makeInstance();
    await driver.spawn(instance);
    const events = driver.events();
    const before = changes;
    hypervisor.stop(instance.uuid, 'crashed');
    expect(changes).toBeGreaterThan(before);
    expect((await events.next()).value).toMatchObject({
      event: 'stopped',
      detail: 'crashed',
      uuid: instance.uuid,
    });
    expect((await driver.getInfo(instance.uuid)).powerState).toBe('crashed');
  });

  it('counts what its instances use', async () => {
    const driver = await open({ hypervisor: new FakeHypervisor({ localGb: 10 }) });
    const [a, b] = [makeInstance(), makeInstance()];
    const more = { ...b, flavor: { ...b.flavor, ephemeralGb: 1, swapMb: 512 } };
    await Promise.all([driver.spawn(a), driver.spawn(more)]);
    await driver.powerOff(b.uuid);
    expect(await driver.getAvailableResource()).toMatchObject({
      vcpusUsed: 2,
      memoryMbUsed: 64,
      localGbUsed: 8,
      diskAvailableLeastGb: 2,
      runningInstances: 1,
    });
  });
});

describe('the image cache of the fake', () => {
  it('fetches once for all who ask at the same time; one who leaves does not end it for the others', async () => {
    const driver = await open({ imageFetchMs: 250 });
    const controller = new AbortController();
    const first = driver
      .spawn(makeInstance(), { signal: controller.signal })
      .catch((error: { code: string }) => error.code);
    const others = [driver.spawn(makeInstance()), driver.spawn(makeInstance())];
    await vi.waitFor(() => expect(driver.hypervisor.fetches.size).toBe(1), { interval: 5 });
    controller.abort();
    expect(await first).toBe('ABORTED');
    expect((await Promise.all(others)).map(({ imageCache }) => imageCache)).toEqual(['joined', 'joined']);
    expect((await driver.spawn(makeInstance())).imageCache).toBe('hit');
  });
});
