// A network interface on a bridge, of Linux or of Open vSwitch.
import type { Vif } from '../../../driver/model.js';
import { element, type XmlElement } from '../element.js';
import type { HostFacts } from '../host.js';
import type { Platform } from '../platform.js';
import type { Guest } from '../vocabulary/guest.js';
import type { VifLimit, VifLimits } from '../vocabulary/limits.js';
import { unsupportedTerm } from '../vocabulary/rule.js';
import { filterrefElement } from './filterref.js';

type InterfaceHost = Partial<Pick<HostFacts, 'vhostNet' | 'maxQueues' | 'vifFilter'>>;

/** Queues a tap can have, since Linux 4. */
const QUEUES_MAX = 256;

/** Bandwidth stays with the flavor; the tap is named by us so that it can be found again. */
export function interfaceElement(
  vif: Vif,
  guest: Guest,
  platform: Platform,
  host: InterfaceHost = {},
): XmlElement {
  const model = guest.vifModel;
  if (model === 'spapr-vlan' && !platform.architecture.startsWith('ppc64')) {
    throw unsupportedTerm('hw_vif_model', model, `not on ${platform.architecture}`);
  }
  return element('interface', { type: 'bridge' }, [
    element('mac', { address: vif.mac }),
    element('source', { bridge: vif.bridge }),
    // By the id the agent on the host finds the port, as Nova's interfaceid.
    vif.virtualPort &&
      element('virtualport', { type: vif.virtualPort }, [element('parameters', { interfaceid: vif.id })]),
    element('target', { dev: vif.tap }),
    element('model', { type: model }),
    driverElement(guest, platform, host),
    filterrefElement(vif, vif.filter ?? host.vifFilter),
    bandwidthElement(guest.vifLimits),
    vif.mtu === undefined ? undefined : element('mtu', { size: vif.mtu }),
  ]);
}

// Without a name libvirt takes vhost where the kernel has it and QEMU's own where not.
function driverElement(
  { vcpus, vifModel, vifMultiqueue, packedRing }: Guest,
  { virtType }: Platform,
  { vhostNet, maxQueues = QUEUES_MAX }: InterfaceHost,
): XmlElement | undefined {
  if (vifModel !== 'virtio') return undefined;
  const most = vifMultiqueue ? Math.min(vcpus, maxQueues, QUEUES_MAX) : 1;
  const queues = most > 1 ? most : undefined;
  if (queues === undefined && !packedRing) return undefined;
  // Emulated guests have no vhost.
  const usual = vhostNet && virtType === 'kvm' ? 'vhost' : 'qemu';
  const name = queues === undefined || vhostNet === undefined ? undefined : usual;
  return element('driver', { name, queues, packed: packedRing ? 'on' : undefined });
}

function bandwidthElement({ inbound, outbound }: VifLimits): XmlElement | undefined {
  if (inbound === undefined && outbound === undefined) return undefined;
  const attributes = ({ average, peak, burst }: VifLimit): { [name: string]: number | undefined } => ({
    average,
    peak,
    burst,
  });
  return element('bandwidth', {}, [
    inbound && element('inbound', attributes(inbound)),
    outbound && element('outbound', attributes(outbound)),
  ]);
}
