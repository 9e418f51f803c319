// Serial ports and the console; the first port is written to the console log.
import { element, type XmlElement } from '../element.js';
import type { DomainHost } from '../host.js';
import { isX86 } from '../host.js';
import type { Platform } from '../platform.js';
import type { Guest } from '../vocabulary/guest.js';
import { unsupportedTerm } from '../vocabulary/rule.js';

/** QEMU has four ISA ports on x86, two SPAPR ones, and one port on the other machines. */
function portsMax({ architecture }: Platform): number {
  if (isX86(architecture)) return 4;
  return architecture.startsWith('ppc64') ? 2 : 1;
}

export function serialElements(guest: Guest, platform: Platform, host: DomainHost): XmlElement[] {
  const max = portsMax(platform);
  if (guest.serialPorts > max) {
    throw unsupportedTerm(
      'hw:serial_port_count',
      String(guest.serialPorts),
      `${platform.machine} has ${max}`,
    );
  }
  if (guest.serialPorts === 0) return [];
  const log = element('log', { file: host.consoleLogPath, append: 'on' });
  if (platform.architecture === 's390x') {
    return [element('console', { type: 'pty' }, [log, element('target', { type: 'sclp', port: 0 })])];
  }
  const ports = Array.from({ length: guest.serialPorts }, (_, port) =>
    element('serial', { type: 'pty' }, [port === 0 ? log : undefined, element('target', { port })]),
  );
  return [
    ...ports,
    element('console', { type: 'pty' }, [log, element('target', { type: 'serial', port: 0 })]),
  ];
}
