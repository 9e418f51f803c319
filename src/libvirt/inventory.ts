// What the node is made of; asked of libvirt and the kernel once, but for the huge pages.
import type { DriverCapabilities } from '../driver/compute-driver.js';
import type { NodeInventory } from '../driver/inventory.js';
import type { HostFactsOfLibvirt } from './available-resource.js';
import { cpuFeatures, type HostCapabilities, parseCapabilities } from './capabilities.js';
import { readHostMemory } from './host-memory.js';
import type { CallContext, Hypervisor } from './hypervisor.js';
import { readNumaCells } from './numa.js';
import { readPciDevices } from './pci-devices.js';
import { traitsOf } from './traits.js';

export interface InventoryHost {
  readonly hypervisor: Hypervisor;
  readonly facts: HostFactsOfLibvirt;
  readonly virtType: 'kvm' | 'qemu';
  readonly emulator: string | undefined;
  readonly capabilities: DriverCapabilities;
}

interface Lasting {
  readonly inventory: Omit<NodeInventory, 'memoryMb' | 'numaCells'>;
  readonly cells: HostCapabilities['cells'];
}

export class Inventory {
  #lasting: Lasting | undefined;

  async read(host: InventoryHost, context: CallContext): Promise<NodeInventory> {
    this.#lasting ??= await readLasting(host, context);
    const { inventory, cells } = this.#lasting;
    const memory = await readHostMemory();
    return {
      ...inventory,
      memoryMb: memory.totalMb,
      numaCells: await readNumaCells(cells, memory, context),
    };
  }
}

async function readLasting(host: InventoryHost, context: CallContext): Promise<Lasting> {
  const { hypervisor, facts, virtType, emulator = '', capabilities } = host;
  const { architecture, cpuTopology, vcpus } = facts;
  const [versions, xml, domainCapabilities, pciDevices] = await Promise.all([
    hypervisor.call(context, (connection, id) => connection.versions(id)),
    hypervisor.call(context, (connection, id) => connection.capabilities(id)),
    hypervisor.call(context, (connection, id) =>
      connection.domainCapabilities(emulator, architecture, '', virtType, id),
    ),
    readPciDevices(context),
  ]);
  const told = parseCapabilities(xml);
  const features = await allFeatures(hypervisor, told, context);
  return {
    inventory: {
      hypervisorType: virtType === 'kvm' ? 'KVM' : 'QEMU',
      hypervisorVersion: versions.hypervisor,
      libvirtVersion: versions.libvirt,
      hypervisorHostname: facts.hypervisorHostname,
      architecture,
      cpu: { model: facts.cpuModel, vendor: told.vendor, features, ...cpuTopology, total: vcpus },
      pciDevices,
      guests: told.guests,
      traits: traitsOf({ architecture, cpuFeatures: features, capabilities, domainCapabilities }),
    },
    cells: told.cells,
  };
}

/** libvirt tells a model, and the features beyond it: what the model means has to be asked. */
async function allFeatures(
  hypervisor: Hypervisor,
  { cpu, features }: HostCapabilities,
  context: CallContext,
): Promise<readonly string[]> {
  if (cpu === undefined || !cpu.includes('<model>')) return features;
  const expanded = await hypervisor.call(context, (connection, id) => connection.expandCpu(cpu, id));
  return cpuFeatures(expanded);
}
