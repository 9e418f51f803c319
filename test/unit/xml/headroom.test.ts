// How far a guest can grow while it runs: what the flavor may say of it.
import { describe, expect, it } from 'vitest';
import type { Flavor, ImageMeta } from '../../../src/driver/model.js';
import { validateFlavorAndImage } from '../../../src/libvirt/xml/domain.js';
import { resolveGuest } from '../../../src/libvirt/xml/vocabulary/guest.js';

const image: ImageMeta = {
  id: 'x',
  diskFormat: 'qcow2',
  source: { type: 'file', path: '/x' },
  properties: {},
};

function flavor(extraSpecs: Record<string, string>): Flavor {
  return { name: 'f', vcpus: 2, memoryMb: 512, rootGb: 1, ephemeralGb: 0, swapMb: 0, extraSpecs };
}

describe('headroom', () => {
  it('is what the flavor has where it names none, and the topology holds all vCPUs', () => {
    expect(resolveGuest(flavor({}), image)).toMatchObject({ maxVcpus: undefined, maxMemoryMb: 512 });
    const most = { 'node_compute:max_vcpus': '6', 'node_compute:max_memory_mb': '1024' };
    expect(resolveGuest(flavor(most), image)).toMatchObject({
      vcpus: 2,
      maxVcpus: 6,
      memoryMb: 512,
      maxMemoryMb: 1024,
      topology: { sockets: 6, cores: 1, threads: 1 },
    });
  });

  it.each([
    { 'node_compute:max_vcpus': '1' },
    { 'node_compute:max_memory_mb': '511' },
    { 'node_compute:max_vcpus': '0' },
    { 'node_compute:max_vcpus': 'many' },
    { 'node_compute:max_vcpus': '4', 'hw:numa_nodes': '1' },
    { 'node_compute:max_memory_mb': '1024', 'hw:mem_page_size': 'large' },
    { 'node_compute:max_disk': '4' },
  ])('refuses %j', (extraSpecs) => {
    expect(() => resolveGuest(flavor(extraSpecs as Record<string, string>), image)).toThrowError(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
  });

  it('of vCPUs is UNSUPPORTED where QEMU plugs none in', () => {
    const host = { virtType: 'qemu', architecture: 'aarch64', packageVersion: '0' } as const;
    expect(() => validateFlavorAndImage(flavor({ 'node_compute:max_vcpus': '4' }), image, host)).toThrowError(
      expect.objectContaining({ code: 'UNSUPPORTED' }),
    );
  });
});
