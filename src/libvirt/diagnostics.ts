// Nova's diagnostics of a running domain: one bulk call for the figures, the live definition for what they are of.
import type { CpuDiagnostics, Diagnostics, DiskDiagnostics, NicDiagnostics } from '../driver/diagnostics.js';
import type { NativeDomain, NativeStatistics } from '../native.js';
import type { CallContext, Hypervisor } from './hypervisor.js';
import { wrongState } from './instance-call.js';
import { devicesOf } from './live-definition.js';
import { powerState } from './states.js';

/** VIR_DOMAIN_STATS_STATE | BALLOON | VCPU | INTERFACE | BLOCK. */
const GROUPS = 1 | 4 | 8 | 16 | 32;

/** Rejects with `INVALID_STATE` where it does not run. */
export async function diagnostics(
  hypervisor: Hypervisor,
  uuid: string,
  virtType: string,
  context: CallContext,
): Promise<Diagnostics> {
  const domain: NativeDomain = await hypervisor.domain(uuid, context);
  const { state: number, saved } = await hypervisor.onDomain(domain, context, (d, id) => d.info(id));
  const state = powerState(number, saved);
  if (state !== 'running' && state !== 'paused') throw wrongState(context, state);
  const [figures, xml] = await Promise.all([
    hypervisor.onDomain(domain, context, (d, id) => d.statistics(GROUPS, id)),
    hypervisor.onDomain(domain, context, (d, id) => d.xml(0, id)),
  ]);
  return { ...diagnosticsOf(figures, xml), state, driver: 'libvirt', hypervisor: virtType };
}

export function diagnosticsOf(
  figures: NativeStatistics,
  xml: string,
): Omit<Diagnostics, 'state' | 'driver' | 'hypervisor'> {
  const cpuDetails = each(figures, 'vcpu.current', (id) => cpu(figures, id));
  const macs = macsByTap(xml);
  const nicDetails = each(figures, 'net.count', (i) => nic(figures, i, macs));
  const diskDetails = each(figures, 'block.count', (i) => disk(figures, i));
  return {
    hypervisorOs: 'linux',
    uptimeSeconds: uptime(xml),
    configDrive: /<source file=['"][^'"]*\/disk\.config['"]/.test(devicesOf(xml)),
    numCpus: cpuDetails.length,
    numNics: nicDetails.length,
    numDisks: diskDetails.length,
    cpuDetails,
    nicDetails,
    diskDetails,
    memoryDetails: {
      maximumMib: mib(figures['balloon.maximum']),
      usedMib: mib(figures['balloon.current']),
    },
  };
}

function cpu(figures: NativeStatistics, id: number): CpuDiagnostics {
  return { id, timeNs: whole(figures[`vcpu.${id}.time`]) };
}

function nic(figures: NativeStatistics, i: number, macs: ReadonlyMap<string, string>): NicDiagnostics {
  const of = (name: string): bigint | undefined => whole(figures[`net.${i}.${name}`]);
  return {
    macAddress: macs.get(String(figures[`net.${i}.name`])),
    rxOctets: of('rx.bytes'),
    rxErrors: of('rx.errs'),
    rxDrop: of('rx.drop'),
    rxPackets: of('rx.pkts'),
    txOctets: of('tx.bytes'),
    txErrors: of('tx.errs'),
    txDrop: of('tx.drop'),
    txPackets: of('tx.pkts'),
  };
}

function disk(figures: NativeStatistics, i: number): DiskDiagnostics {
  const of = (name: string): bigint | undefined => whole(figures[`block.${i}.${name}`]);
  const name = figures[`block.${i}.name`];
  return {
    name: typeof name === 'string' ? name : undefined,
    readBytes: of('rd.bytes'),
    readRequests: of('rd.reqs'),
    writeBytes: of('wr.bytes'),
    writeRequests: of('wr.reqs'),
    errorsCount: of('errors'),
  };
}

function each<T>(figures: NativeStatistics, countName: string, make: (index: number) => T): T[] {
  return Array.from({ length: Number(figures[countName] ?? 0) }, (_, index) => make(index));
}

/** By the tap's name, under which libvirt counts. */
function macsByTap(xml: string): Map<string, string> {
  const macs = new Map<string, string>();
  for (const [, body = ''] of devicesOf(xml).matchAll(/<interface\b[^>]*>(.*?)<\/interface>/gs)) {
    const mac = /<mac address=['"]([^'"]+)['"]/.exec(body)?.[1];
    const tap = /<target dev=['"]([^'"]+)['"]/.exec(body)?.[1];
    if (mac !== undefined && tap !== undefined) macs.set(tap, mac);
  }
  return macs;
}

function uptime(xml: string): number | undefined {
  const created = /<nova:creationTime>(\S+) (\S+)<\/nova:creationTime>/.exec(xml);
  const since = created ? Date.parse(`${created[1]}T${created[2]}Z`) : Number.NaN;
  return Number.isNaN(since) ? undefined : Math.max(0, Math.floor((Date.now() - since) / 1000));
}

function whole(value: NativeStatistics[string]): bigint | undefined {
  return typeof value === 'bigint' ? value : undefined;
}

function mib(kib: NativeStatistics[string]): number | undefined {
  return typeof kib === 'bigint' ? Number(kib / 1024n) : undefined;
}
