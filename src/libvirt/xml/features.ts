// The features element: ACPI and friends, SMM, Hyper-V's interfaces for Windows.
import { element, type XmlElement } from './element.js';
import { isX86 } from './host.js';
import type { Platform } from './platform.js';
import type { Guest } from './vocabulary/guest.js';

/** Undefined where the architecture has none of them. */
export function featuresElement(guest: Guest, platform: Platform): XmlElement | undefined {
  const x86 = isX86(platform.architecture);
  const kvm = platform.virtType === 'kvm';
  // A guest in real time must not be interrupted by counters.
  const pmu = guest.placement.realtime.length > 0 ? false : guest.pmu;
  const children = [
    x86 || platform.architecture === 'aarch64' ? element('acpi') : undefined,
    x86 ? element('apic') : undefined,
    kvm && x86 && guest.osType === 'windows' ? hyperv(guest) : undefined,
    kvm && guest.hideHypervisorId ? element('kvm', {}, [element('hidden', { state: 'on' })]) : undefined,
    pmu === undefined ? undefined : element('pmu', { state: pmu ? 'on' : 'off' }),
    platform.secureBoot ? element('smm', { state: 'on' }) : undefined,
  ].filter((child) => child !== undefined);
  return children.length === 0 ? undefined : element('features', {}, children);
}

function hyperv(guest: Guest): XmlElement {
  return element('hyperv', { mode: 'custom' }, [
    element('relaxed', { state: 'on' }),
    element('vapic', { state: 'on' }),
    element('spinlocks', { state: 'on', retries: 8191 }),
    element('vpindex', { state: 'on' }),
    element('runtime', { state: 'on' }),
    element('synic', { state: 'on' }),
    element('reset', { state: 'on' }),
    // Any other name than Hyper-V's own; drivers of some graphics cards look for it.
    guest.hideHypervisorId ? element('vendor_id', { state: 'on', value: '1234567890ab' }) : undefined,
    element('frequencies', { state: 'on' }),
    element('tlbflush', { state: 'on' }),
    element('ipi', { state: 'on' }),
  ]);
}
