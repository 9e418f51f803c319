// What guests of a fake hypervisor do at a test's word is told as that of real ones, and has its effect.
import { expect, it } from 'vitest';
import { type DriverEvent, FakeDriver, type Instance } from '../../../src/index.js';

const UUID = '6f2d1c3e-58a4-4b7e-9a31-0c9d5e7f1a2b';

const instance: Instance = {
  uuid: UUID,
  id: 1,
  name: 'instance-00000001',
  displayName: 'guest',
  flavor: { name: 'f', vcpus: 1, memoryMb: 64, rootGb: 1, ephemeralGb: 0, swapMb: 0, extraSpecs: {} },
  image: { id: 'i', diskFormat: 'raw', source: { type: 'file', path: '/i' }, properties: {} },
  vifs: [],
  createdAt: '2026-01-01T00:00:00Z',
};

async function running() {
  const driver = new FakeDriver();
  await driver.initHost();
  await driver.spawn(instance);
  const seen: DriverEvent[] = [];
  const { hypervisor } = driver;
  const ended = (async () => {
    for await (const event of driver.events()) seen.push(event);
  })();
  const told = async (): Promise<string[]> => {
    await driver.close();
    await ended;
    return seen.map((event) => (event.type === 'lifecycle' ? `${event.event} ${event.detail}` : event.type));
  };
  return { driver, guests: hypervisor.guests, seen, told };
}

it('a full disk and a watchdog pause it, a panic ends it', async () => {
  const { driver, guests, seen, told } = await running();
  guests.ioError(UUID);
  expect((await driver.getInfo(UUID)).powerState).toBe('paused');
  await driver.unpause(UUID);
  guests.watchdog(UUID, 'pause');
  await driver.unpause(UUID);
  guests.watchdog(UUID, 'reset');
  guests.panic(UUID);
  expect((await driver.getInfo(UUID)).powerState).toBe('crashed');
  guests.ioError(UUID);
  expect(await told()).toEqual([
    ...['io-error', 'suspended io-error', 'resumed unpaused'],
    ...['watchdog', 'suspended watchdog', 'resumed unpaused'],
    ...['watchdog', 'reboot', 'crashed panicked', 'stopped crashed'],
  ]);
  expect(seen[0]).toMatchObject({ uuid: UUID, action: 'pause', reason: 'enospc' });
});

it('agent, balloon and jobs are told of, and a threshold once', async () => {
  const { driver, guests, seen, told } = await running();
  guests.agent(UUID, 'connected');
  guests.balloon(UUID, 32 * 1024);
  const figures = { elapsedMs: 5, processedBytes: 1n, totalBytes: 1n };
  guests.jobCompleted(UUID, { operation: 'backup', success: true, ...figures });
  await driver.setDiskThreshold(UUID, 'vda', 100);
  guests.writes(UUID, 'vda', 100);
  guests.writes(UUID, 'vda', 130);
  guests.writes(UUID, 'vda', 160);
  await driver.setDiskThreshold(UUID, 'vda', 200);
  await driver.powerOff(UUID);
  await driver.powerOn(instance);
  guests.writes(UUID, 'vda', 300);
  expect((await told()).filter((line) => !line.includes(' '))).toEqual([
    ...['agent', 'balloon', 'job-completed', 'disk-threshold'],
  ]);
  expect(seen.find(({ type }) => type === 'disk-threshold')).toMatchObject({
    disk: 'vda',
    thresholdBytes: 100,
    excessBytes: 30,
  });
});
