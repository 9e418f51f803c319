// The cpu element: mode and model, topology, guest NUMA cells.
import { ComputeError } from '../../driver/errors.js';
import { cpuList } from './cpu-list.js';
import { element, textElement, type XmlElement } from './element.js';
import type { CpuMode, HostFacts } from './host.js';
import type { Platform } from './platform.js';
import type { Guest } from './vocabulary/guest.js';
import { unsupportedTerm } from './vocabulary/rule.js';

export function vcpuElement({ vcpus, maxVcpus = vcpus }: Guest): XmlElement {
  return textElement('vcpu', maxVcpus, {
    placement: 'static',
    current: vcpus === maxVcpus ? undefined : vcpus,
  });
}

/** Which of them can come and go while the guest runs; libvirt wants the first to stay. Undefined where none can. */
export function vcpusElement({ vcpus, maxVcpus }: Guest): XmlElement | undefined {
  if (maxVcpus === undefined) return undefined;
  const all = Array.from({ length: maxVcpus }, (_, id) =>
    element('vcpu', { id, enabled: id < vcpus ? 'yes' : 'no', hotpluggable: id === 0 ? 'no' : 'yes' }),
  );
  return element('vcpus', {}, all);
}

/**
 * Emulation knows no host CPU: `host-passthrough` and `host-model` become `maximum` there, everything QEMU can emulate.
 */
export function cpuElement(guest: Guest, platform: Platform, host: HostFacts): XmlElement {
  const mode = cpuMode(platform, host);
  if (mode === 'custom' && host.cpuModel === undefined) {
    throw new ComputeError('INVALID_ARGUMENT', 'cpuMode custom needs a cpuModel', {
      operation: 'domainXml',
      details: { field: 'cpuModel' },
    });
  }
  if (mode === 'none' && guest.physicalAddress !== undefined) {
    throw unsupportedTerm(
      'hw:maxphysaddr_mode',
      guest.physicalAddress.mode,
      'this host gives guests no CPU model',
    );
  }
  const { sockets, cores, threads } = guest.topology;
  return element(
    'cpu',
    { mode: mode === 'none' ? undefined : mode, match: mode === 'custom' ? 'exact' : undefined },
    [
      mode === 'custom' ? textElement('model', host.cpuModel ?? '', { fallback: 'forbid' }) : undefined,
      element('topology', { sockets, dies: 1, cores, threads }),
      guest.physicalAddress === undefined
        ? undefined
        : element('maxphysaddr', { mode: guest.physicalAddress.mode, bits: guest.physicalAddress.bits }),
      numaElement(guest),
    ],
  );
}

function cpuMode({ virtType, architecture }: Platform, host: HostFacts): CpuMode {
  const wanted = host.cpuMode ?? (host.cpuModel === undefined ? undefined : 'custom');
  if (virtType === 'qemu') {
    // QEMU's default CPU on aarch64 has 32 bits.
    if (wanted === undefined) return architecture === 'aarch64' ? 'maximum' : 'none';
    return wanted === 'host-passthrough' || wanted === 'host-model' ? 'maximum' : wanted;
  }
  return wanted ?? (architecture === 'aarch64' ? 'host-passthrough' : 'host-model');
}

function numaElement({ cells }: Guest): XmlElement | undefined {
  if (cells === undefined) return undefined;
  return element(
    'numa',
    {},
    cells.map((cell) =>
      element('cell', {
        id: cell.id,
        cpus: cpuList(cell.cpus),
        memory: cell.memoryMb * 1024,
        unit: 'KiB',
      }),
    ),
  );
}
