// One real instance through all that turns it into something else: its CPUs, its way out of the host and its volume stay.
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ComputeNode, networkFeatures } from '../../src/index.js';
import { GUEST_IMAGE, qemuProcesses, TestHost } from '../support/host.js';

/** Two interfaces of the host, as a network card and its switch. */
const CARD = `cc${process.pid}`;
const SWITCH = `cs${process.pid}`;
const UUID = 'b0a5c1de-6c1b-4f9a-8f53-7f0c1d2e3f40';
const AT_ONCE = { shutdownTimeoutMs: 0 };
const host = new TestHost();
const there = (name: string): boolean => existsSync(`/sys/class/net/${name}`);

beforeAll(() => {
  execFileSync('ip', ['link', 'add', CARD, 'type', 'veth', 'peer', 'name', SWITCH]);
});
afterAll(() => {
  execFileSync('ip', ['link', 'delete', CARD]);
  host.dispose();
});

describe.each(['raw', 'qcow2'] as const)('an instance with a %s disk', (imagesType) => {
  it.for(['its own', 'a VLAN'] as const)(
    'keeps its CPU, its volume and %s way out, and leaves nothing',
    { timeout: 300_000 },
    async (way, { skip }) => {
      const vlan = way === 'a VLAN' ? 77 : undefined;
      if (vlan && !(await networkFeatures())?.vlan)
        skip('this kernel has no 802.1Q VLANs (CONFIG_VLAN_8021Q)');
      const port = vlan === undefined ? CARD : `${CARD}.${vlan}`;
      const directory = join(host.instancesPath, UUID);
      const extraSpecs = { 'hw:cpu_policy': 'dedicated' };
      const flavor = { vcpus: 1, memoryMb: 128, rootGb: 1, extraSpecs };
      const image = {
        id: 'guest',
        diskFormat: 'qcow2',
        source: { type: 'file', path: GUEST_IMAGE },
      } as const;
      const network = { bridge: host.bridge, physicalInterface: CARD, ...(vlan !== undefined && { vlan }) };
      const cpus = availableParallelism() > 1 ? [0, 1] : [0];
      const options = {
        instancesPath: host.instancesPath,
        driverOptions: { root: host.root, images: { imagesType, minAgeMs: 0 } },
        dedicatedCpus: cpus,
        reserved: { memoryMb: 0 },
      };
      let node = await ComputeNode.open(options);
      try {
        const ports = (): string[] =>
          there(host.bridge) ? readdirSync(`/sys/class/net/${host.bridge}/brif`).sort() : [];
        /** That a pass of ageing leaves. */
        const bases = async (): Promise<number> => {
          await node.manageImageCache();
          const names = readdirSync(join(host.instancesPath, '_base'));
          return names.filter((name) => /^[0-9a-f]{40}$/.test(name)).length;
        };
        const stands = async (vmState: string, pinned = 0): Promise<void> => {
          expect(await node.get(UUID)).toMatchObject({ vmState, powerState: 'running', task: undefined });
          const [pid] = qemuProcesses(UUID);
          const allowed = readdirSync(`/proc/${pid}/task`).flatMap((task) => {
            const status = readFileSync(`/proc/${pid}/task/${task}/status`, 'utf8');
            return /^Name:\s*CPU 0/m.test(status) ? [/^Cpus_allowed_list:\s*(.*)$/m.exec(status)?.[1]] : [];
          });
          expect(allowed).toEqual([String(pinned)]);
          const definition = readFileSync(join(directory, 'libvirt.xml'), 'utf8');
          expect(definition).toContain(`${host.directory}/volumes/`);
          const tap = /<target dev='(tap[^']*)'/.exec(definition)?.[1] ?? '';
          expect(ports()).toEqual([port, tap].sort());
        };
        const volume = host.volume();
        await node.launch({ uuid: UUID, name: 'guest', flavor, image, networks: [network] });
        await node.attachVolume(UUID, volume);
        await stands('active');

        await node.rescue(UUID, { image: { ...image, id: 'rescuer' }, ...AT_ONCE });
        await stands('rescued');
        expect(await bases()).toBe(2);
        await node.shutdown(UUID, AT_ONCE);
        await node.start(UUID);
        await stands('rescued');
        await node.unrescue(UUID);
        await stands('active');
        expect(await bases()).toBe(1);

        await node.rebuild(UUID, { image: { ...image, id: 'again' } }, AT_ONCE);
        await stands('active');

        if (cpus.length > 1) {
          await node.resize(UUID, { ...flavor, memoryMb: 160, rootGb: 2 }, AT_ONCE);
          await stands('resized', 1);
          expect(await bases()).toBe(1);
          await node.close();
          node = await ComputeNode.open(options);
          expect((await node.report()).pcpus?.used).toBe(2);
          await node.revertResize(UUID);
          await stands('active');
          await node.resize(UUID, { ...flavor, rootGb: 2 }, { ...AT_ONCE, autoConfirm: true });
          await stands('active', 1);
          expect((await node.report()).pcpus?.used).toBe(1);
        }

        const target = host.snapshotTarget();
        await node.snapshot(UUID, target);
        await stands('active', cpus.length - 1);

        const shelf = host.snapshotTarget();
        const shelved = { id: randomUUID(), diskFormat: 'qcow2', source: shelf } as const;
        await node.shelve(UUID, { image: shelved, ...AT_ONCE });
        expect((await node.report()).pcpus?.used).toBe(1);
        await node.shelveOffload(UUID);
        expect((await node.report()).pcpus?.used).toBe(0);
        expect([existsSync(directory), qemuProcesses(UUID), there(host.bridge)]).toEqual([false, [], false]);
        expect([there(CARD), vlan !== undefined && there(port)]).toEqual([true, false]);

        expect(await bases()).toBe(0);
        await node.unshelve(UUID);
        await stands('active');
        expect(await bases()).toBe(1);
        await node.terminate(UUID);
        expect(await bases()).toBe(0);
        const left = readdirSync(host.instancesPath).filter((name) => name === UUID);
        expect([left, readdirSync(join(host.instancesPath, 'journal'))]).toEqual([[], []]);
        expect([qemuProcesses(UUID), there(host.bridge), there(CARD)]).toEqual([[], false, true]);
        expect((await node.report()).memoryMb.used).toBe(0);

        // A launch that fails lets go of all as well.
        const tooLarge = { ...network, mtu: 9000 };
        const failed = node.launch({
          uuid: UUID,
          name: 'guest',
          flavor,
          image,
          networks: [network, tooLarge],
        });
        await expect(failed).rejects.toMatchObject({ code: 'NETWORK_FAILED', instanceUuid: UUID });
        expect([await node.list(), there(host.bridge), there(CARD)]).toEqual([[], false, true]);
      } finally {
        await node.terminate(UUID).catch(() => undefined);
        await node.close();
      }
    },
  );
});
