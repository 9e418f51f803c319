// A node on a fake hypervisor and a real directory, and what is left of an instance in both.
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import type { ComputeNodeOptions, LaunchRequest, NodeEvent } from '../../src/index.js';
import { ComputeNode, type FakeDriverOptions, FakeHypervisor, Faults } from '../../src/index.js';

export const UUID = '6f2d1c3e-58a4-4b7e-9a31-0c9d5e7f1a2b';

export interface Bench {
  readonly path: string;
  readonly hypervisor: FakeHypervisor;
  readonly faults: Faults;
  readonly open: (options?: Partial<ComputeNodeOptions>, driver?: FakeDriverOptions) => Promise<ComputeNode>;
  /** Files, domains, disks and taps; empty where nothing is left. The image cache and the node's own files do not count. */
  readonly left: () => string[];
}

const cleanups: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

export function makeBench(
  hypervisor: FakeHypervisor = new FakeHypervisor({ vcpus: 8, memoryMb: 16_384, localGb: 100 }),
): Bench {
  const path = mkdtempSync(join(tmpdir(), 'node-compute-'));
  cleanups.push(() => rmSync(path, { recursive: true, force: true }));
  const faults = new Faults();
  return {
    path,
    hypervisor,
    faults,
    open: async (options = {}, driver = {}) => {
      const node = await ComputeNode.open({
        driver: 'fake.FakeDriver',
        instancesPath: path,
        driverOptions: { hypervisor, faults, files: true, ...driver },
        ...options,
      });
      cleanups.push(async () => {
        faults.clear();
        faults.release();
        await node.close();
      });
      return node;
    },
    left: () => [
      ...readdirSync(path).filter((name) => !['journal', 'locks', 'sequence'].includes(name)),
      ...readdirSync(join(path, 'journal')).map((name) => `journal of ${name}`),
      ...[...hypervisor.domains.keys()].map((uuid) => `domain ${uuid}`),
      ...[...hypervisor.disks].map((uuid) => `disk ${uuid}`),
      ...[...hypervisor.taps.keys()],
    ],
  };
}

/** The host as a kill would leave it just now. */
export function kill9(bench: Bench): Bench {
  const after = makeBench(FakeHypervisor.load(bench.hypervisor.save()));
  cpSync(bench.path, after.path, { recursive: true });
  return after;
}

export function request(overrides: Partial<LaunchRequest> = {}): LaunchRequest {
  return {
    uuid: UUID,
    name: 'guest',
    flavor: { vcpus: 1, memoryMb: 512, rootGb: 1 },
    image: { id: 'image', diskFormat: 'raw', source: { type: 'file', path: '/images/image' } },
    networks: [{}],
    configDrive: {},
    ...overrides,
  };
}

/** Events from now on, as they come. */
export function collect(node: ComputeNode): NodeEvent[] {
  const seen: NodeEvent[] = [];
  const events = node.events();
  void (async () => {
    for await (const event of events) seen.push(event);
  })();
  return seen;
}
