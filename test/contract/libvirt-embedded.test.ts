// The libvirt driver on its embedded connection, with guests that boot.
import { afterAll, beforeAll, describe, it } from 'vitest';
import { describeDriverContract } from '../../src/driver/contract-suite.js';
import { LibvirtDriver } from '../../src/libvirt/libvirt-driver.js';
import { TestHost } from '../support/host.js';

const host = new TestHost();

describeDriverContract('LibvirtDriver, embedded', {
  describe,
  it,
  before: beforeAll,
  after: afterAll,
  makeDriver: () => new LibvirtDriver(host.options()),
  makeInstance: () => host.instance(),
  makeVolume: () => host.volume(),
  makeSnapshotTarget: () => host.snapshotTarget(),
  leftovers: async (instance) => host.leftovers(instance),
  consoleText: /"event":"BOOTED"/,
  limits: { spawnMs: 90_000, shutdownMs: 5_000 },
});

afterAll(() => host.dispose());
