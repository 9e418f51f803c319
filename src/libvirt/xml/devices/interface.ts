// A network interface on a Linux bridge.
import type { Vif } from '../../../driver/model.js';
import { element, type XmlElement } from '../element.js';
import type { Platform } from '../platform.js';
import type { Guest } from '../vocabulary/guest.js';
import type { VifLimit, VifLimits } from '../vocabulary/limits.js';
import { unsupportedTerm } from '../vocabulary/rule.js';

/** Queues a tap can have. */
const QUEUES_MAX = 256;

/** Bandwidth stays with the flavor; the tap is named by us so that it can be found again. */
export function interfaceElement(vif: Vif, guest: Guest, platform: Platform): XmlElement {
  const model = guest.vifModel;
  if (model === 'spapr-vlan' && !platform.architecture.startsWith('ppc64')) {
    throw unsupportedTerm('hw_vif_model', model, `not on ${platform.architecture}`);
  }
  return element('interface', { type: 'bridge' }, [
    element('mac', { address: vif.mac }),
    element('source', { bridge: vif.bridge }),
    element('target', { dev: vif.tap }),
    element('model', { type: model }),
    driverElement(guest),
    bandwidthElement(guest.vifLimits),
    vif.mtu === undefined ? undefined : element('mtu', { size: vif.mtu }),
  ]);
}

// No driver name: libvirt takes vhost where the kernel has it and QEMU's own where not.
function driverElement({ vcpus, vifModel, vifMultiqueue, packedRing }: Guest): XmlElement | undefined {
  if (vifModel !== 'virtio') return undefined;
  const queues = vifMultiqueue && vcpus > 1 ? Math.min(vcpus, QUEUES_MAX) : undefined;
  if (queues === undefined && !packedRing) return undefined;
  return element('driver', { queues, packed: packedRing ? 'on' : undefined });
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
