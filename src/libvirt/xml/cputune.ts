// The cputune element: shares and quota, host CPUs of pinned vCPUs, real time.
import { cpuList } from './cpu-list.js';
import { element, textElement, type XmlElement } from './element.js';
import type { CpuPinning, HostFacts } from './host.js';
import type { Guest } from './vocabulary/guest.js';

/** Undefined where nothing is limited or pinned. */
export function cputuneElement(guest: Guest, host: HostFacts): XmlElement | undefined {
  const { shares, periodUs, quotaUs } = guest.cpuLimits;
  const children = [
    shares === undefined ? undefined : textElement('shares', shares),
    periodUs === undefined ? undefined : textElement('period', periodUs),
    quotaUs === undefined ? undefined : textElement('quota', quotaUs),
    ...(host.pinning === undefined || guest.placement.policy === 'shared' ? [] : pins(guest, host.pinning)),
  ].filter((child) => child !== undefined);
  return children.length === 0 ? undefined : element('cputune', {}, children);
}

function pins({ vcpus, placement }: Guest, pinning: CpuPinning): XmlElement[] {
  const result: XmlElement[] = [];
  const shared = pinning.shared ?? [];
  for (let vcpu = 0, next = 0; vcpu < vcpus; vcpu++) {
    const own = placement.dedicated.includes(vcpu) ? pinning.dedicated[next++] : undefined;
    if (own !== undefined) result.push(element('vcpupin', { vcpu, cpuset: String(own) }));
    else if (shared.length > 0) result.push(element('vcpupin', { vcpu, cpuset: cpuList(shared) }));
  }
  result.push(element('emulatorpin', { cpuset: cpuList(emulatorCpus(pinning)) }));
  if (placement.realtime.length > 0) {
    result.push(element('vcpusched', { vcpus: cpuList(placement.realtime), scheduler: 'fifo', priority: 1 }));
  }
  return result;
}

/** Emulator threads run on CPUs set aside for them, else on the shared ones, else beside the vCPUs. */
function emulatorCpus({ emulator, shared, dedicated }: CpuPinning): readonly number[] {
  if (emulator !== undefined && emulator.length > 0) return emulator;
  return shared !== undefined && shared.length > 0 ? shared : dedicated;
}
