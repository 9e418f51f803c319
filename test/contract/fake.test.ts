// The fake driver is held to what the real ones are held to.
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { describeDriverContract } from '../../src/driver/contract-suite.js';
import { type Instance, instanceName } from '../../src/driver/model.js';
import type { VolumeConnection } from '../../src/driver/volume.js';
import { FakeDriver } from '../../src/fake/fake-driver.js';
import { FakeHypervisor } from '../../src/fake/fake-hypervisor.js';

let lastId = 0;

function makeInstance(displayName = 'guest'): Instance {
  lastId += 1;
  const portId = randomUUID();
  return {
    uuid: randomUUID(),
    id: lastId,
    name: instanceName(lastId),
    displayName,
    flavor: {
      name: 'tiny',
      vcpus: 1,
      memoryMb: 64,
      rootGb: 0,
      ephemeralGb: 0,
      swapMb: 0,
      extraSpecs: {},
    },
    image: {
      id: 'image',
      diskFormat: 'raw',
      source: { type: 'file', path: '/images/image' },
      properties: {},
    },
    vifs: [{ id: portId, mac: 'fa:16:3e:00:00:01', bridge: 'br-fake', tap: `tap${portId.slice(0, 11)}` }],
    createdAt: new Date().toISOString(),
  };
}

function makeVolume(): VolumeConnection {
  return { driverVolumeType: 'file', data: { path: `/volumes/${randomUUID()}`, format: 'raw' } };
}

const quick = new FakeHypervisor();
const slow = new FakeHypervisor();

function leftoversOn(hypervisor: FakeHypervisor) {
  return async ({ uuid }: Instance): Promise<string[]> => [
    ...(hypervisor.domains.has(uuid) ? ['domain'] : []),
    ...(hypervisor.disks.has(uuid) ? ['disk'] : []),
    ...[...hypervisor.taps].filter(([, owner]) => owner === uuid).map(([tap]) => tap),
  ];
}

const guest = ({ displayName }: Instance) => ({
  shutdownMs: displayName === 'stubborn' ? ('never' as const) : 5,
  greeting: 'hello from the guest\n',
});

describeDriverContract('FakeDriver', {
  describe,
  it,
  before: beforeAll,
  after: afterAll,
  makeDriver: () => new FakeDriver({ hypervisor: quick, guest }),
  makeInstance,
  makeStubbornInstance: () => makeInstance('stubborn'),
  makeVolume,
  makeSnapshotTarget: () => ({ type: 'file', path: `/snapshots/${randomUUID()}` }),
  leftovers: leftoversOn(quick),
  consoleText: /hello from/,
  limits: { callMs: 2_000, spawnMs: 5_000, shutdownMs: 60 },
});

describeDriverContract('FakeDriver that takes its time', {
  describe,
  it,
  before: beforeAll,
  after: afterAll,
  makeDriver: () =>
    new FakeDriver({
      hypervisor: slow,
      guest,
      imageFetchMs: 20,
      stepMs: { image: 5, definition: 5, network: 5, start: 5 },
    }),
  makeInstance,
  makeVolume,
  makeSnapshotTarget: () => ({ type: 'glance' }),
  leftovers: leftoversOn(slow),
  limits: { callMs: 2_000, spawnMs: 5_000, shutdownMs: 60 },
});
