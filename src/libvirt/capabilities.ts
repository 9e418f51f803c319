// Reads libvirt's capabilities: always of libvirt's own form, so a parser of XML, and its 8 MB of memory, is not needed.
import type { NodeInventory } from '../driver/inventory.js';

export interface HostCapabilities {
  /** The `<cpu>` element; undefined where libvirt knows none. */
  readonly cpu: string | undefined;
  readonly vendor: string;
  readonly features: readonly string[];
  readonly cells: readonly {
    readonly id: number;
    readonly memoryKib: number;
    readonly cpus: readonly number[];
    readonly siblings: readonly (readonly number[])[];
  }[];
  readonly guests: NodeInventory['guests'];
}

export function parseCapabilities(xml: string): HostCapabilities {
  const host = /<host>(.*?)<\/host>/s.exec(xml)?.[1] ?? '';
  const cpu = /<cpu>.*?<\/cpu>/s.exec(host)?.[0];
  return {
    cpu,
    vendor: /<vendor>([^<]+)<\/vendor>/.exec(cpu ?? '')?.[1] ?? '',
    features: cpuFeatures(cpu ?? ''),
    cells: [...host.matchAll(/<cell id='(\d+)'>(.*?)<\/cell>/gs)].map(([, id, cell = '']) => ({
      id: Number(id),
      memoryKib: Number(/<memory unit='KiB'>(\d+)</.exec(cell)?.[1] ?? 0),
      ...cpusOf(cell),
    })),
    guests: [...xml.matchAll(/<guest>(.*?)<\/guest>/gs)].flatMap(([, guest = '']) => guestsOf(guest)),
  };
}

/** Names of the features that a `<cpu>` element tells, sorted. */
export function cpuFeatures(cpu: string): string[] {
  return [
    ...new Set([...cpu.matchAll(/<feature\b[^>]*\bname='([^']+)'/g)].map(([, name = '']) => name)),
  ].sort();
}

/** `0-3,8,10-11` of the kernel and of libvirt. */
export function parseCpuList(text: string): number[] {
  return text
    .trim()
    .split(',')
    .filter((part) => part !== '')
    .flatMap((part) => {
      const [first = 0, last = first] = part.split('-').map(Number);
      return Array.from({ length: last - first + 1 }, (_, i) => first + i);
    });
}

/** Values of an enumeration in libvirt's domain capabilities, such as `bus` of `disk`. */
export function enumOf(domainCapabilities: string, device: string, name: string): string[] {
  const section =
    new RegExp(`<${device} supported='yes'>(.*?)</${device}>`, 's').exec(domainCapabilities)?.[1] ?? '';
  const values = new RegExp(`<enum name='${name}'>(.*?)</enum>`, 's').exec(section)?.[1] ?? '';
  return [...values.matchAll(/<value>([^<]+)<\/value>/g)].map(([, value = '']) => value);
}

function cpusOf(cell: string): { readonly cpus: number[]; readonly siblings: number[][] } {
  const found = [...cell.matchAll(/<cpu id='(\d+)'[^>]*?(?:siblings='([^']+)')?\/>/g)];
  // One line for each thread, and each names its whole core.
  const cores = new Map(found.map(([, id = '', siblings = id]) => [siblings, parseCpuList(siblings)]));
  return { cpus: found.map(([, id]) => Number(id)), siblings: [...cores.values()] };
}

function guestsOf(guest: string): NodeInventory['guests'] {
  if (!guest.includes('<os_type>hvm</os_type>')) return [];
  const arch = /<arch name='([^']+)'>(.*?)<\/arch>/s.exec(guest);
  const [, architecture = '', body = ''] = arch ?? [];
  const machinesOf = (text: string): string[] =>
    [...text.matchAll(/<machine\b[^>]*>([^<]+)<\/machine>/g)].map(([, name = '']) => name).sort();
  const common = machinesOf(body.replace(/<domain\b.*/s, ''));
  return [...body.matchAll(/<domain type='(kvm|qemu)'(?:\/>|>(.*?)<\/domain>)/gs)].map(
    ([, type, own = '']) => {
      const machines = machinesOf(own);
      return {
        architecture,
        domainType: type === 'kvm' ? 'kvm' : 'qemu',
        machines: machines.length > 0 ? machines : common,
      };
    },
  );
}
