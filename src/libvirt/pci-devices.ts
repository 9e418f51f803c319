// The PCI devices of the host, from sysfs: two small files each, where libvirt asks for the capabilities of each.
import type { NodeInventory } from '../driver/inventory.js';
import type { CallContext } from './hypervisor.js';
import { namesIn, smallFile } from './sysfs.js';

type PciDevice = NodeInventory['pciDevices'][number];

const DEVICES = '/sys/bus/pci/devices';
const IOMMU_GROUPS = '/sys/kernel/iommu_groups';

/** Empty where the host has no PCI. */
export async function readPciDevices(context: CallContext): Promise<PciDevice[]> {
  const [addresses, groups] = await Promise.all([namesIn(DEVICES, context), iommuGroups(context)]);
  const devices = addresses.map(async (address) => {
    const [uevent, numaNode] = await Promise.all([
      smallFile(`${DEVICES}/${address}/uevent`, context),
      smallFile(`${DEVICES}/${address}/numa_node`, context),
    ]);
    return parsePciDevice(address, uevent, numaNode, groups.get(address));
  });
  return (await Promise.all(devices)).filter((device) => device !== undefined);
}

/** Undefined for a device that has gone meanwhile. */
export function parsePciDevice(
  address: string,
  uevent: string,
  numaNode: string,
  iommuGroup: number | undefined,
): PciDevice | undefined {
  const value = (name: string): string | undefined => new RegExp(`^${name}=(.*)$`, 'm').exec(uevent)?.[1];
  const [vendorId, productId] = value('PCI_ID')?.toLowerCase().split(':') ?? [];
  if (vendorId === undefined || productId === undefined) return undefined;
  // -1: the host has no cells, or does not say.
  const node = numaNode.trim() === '' ? -1 : Number(numaNode);
  return {
    address,
    vendorId,
    productId,
    class: (value('PCI_CLASS') ?? '').toLowerCase().padStart(6, '0'),
    numaNode: node >= 0 ? node : undefined,
    driver: value('DRIVER'),
    iommuGroup,
  };
}

async function iommuGroups(context: CallContext): Promise<Map<string, number>> {
  const groups = await namesIn(IOMMU_GROUPS, context);
  const pairs = groups.map(async (group) => {
    const addresses = await namesIn(`${IOMMU_GROUPS}/${group}/devices`, context);
    return addresses.map((address): [string, number] => [address, Number(group)]);
  });
  return new Map((await Promise.all(pairs)).flat());
}
