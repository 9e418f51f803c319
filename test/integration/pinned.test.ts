// An instance that its claim gave a host CPU and a NUMA cell runs there: by the kernel's word of its threads.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { loadDriver } from '../../src/index.js';
import { qemuProcesses, TestHost } from '../support/host.js';

const host = new TestHost();

afterAll(() => host.dispose());

/** The CPUs that each thread of the instance may run on, by the thread's name. */
function threadsOf(uuid: string): (readonly [name: string, cpus: string])[] {
  return qemuProcesses(uuid).flatMap((pid) =>
    readdirSync(`/proc/${pid}/task`).map((task) => {
      const status = readFileSync(`/proc/${pid}/task/${task}/status`, 'utf8');
      const field = (name: string): string => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? '';
      return [field('Name'), field('Cpus_allowed_list')] as const;
    }),
  );
}

it('its vCPU is pinned, and its memory is bound to the cell', async () => {
  await using driver = await loadDriver('libvirt.LibvirtDriver', host.options());
  await driver.initHost();
  const instance = host.instance({
    flavor: {
      name: 'pinned',
      vcpus: 1,
      memoryMb: 128,
      rootGb: 1,
      ephemeralGb: 0,
      swapMb: 0,
      extraSpecs: { 'hw:cpu_policy': 'dedicated' },
    },
    placement: { dedicated: [0], nodes: [0] },
  });
  await driver.spawn(instance);
  try {
    const threads = threadsOf(instance.uuid);
    const vcpus = threads.filter(([name]) => name.startsWith('CPU 0'));
    expect(vcpus).toMatchObject([[expect.any(String), '0']]);
    const definition = readFileSync(join(host.instancesPath, instance.uuid, 'libvirt.xml'), 'utf8');
    expect(definition).toMatch(/<memnode cellid='0' mode='strict' nodeset='0'\/>/);
  } finally {
    await driver.destroy(instance);
  }
  expect(host.leftovers(instance)).toEqual([]);
});
