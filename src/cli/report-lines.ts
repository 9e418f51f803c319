// A report as lines of text: the host's resources as bars, then a table of its instances.
import type { FullReport, InstanceReport, ResourceUsage } from '../index.js';
import { bytesText } from './units.js';

const BAR = 24;
const NONE = '-';

export function reportLines({ node, service, timestampMs, instances }: FullReport): string[] {
  const enabled = service.enabled ? 'enabled' : `disabled (${service.disabledReason})`;
  const time = new Date(timestampMs).toLocaleTimeString('en-GB');
  const mib = (amount: number): string => bytesText(amount * 2 ** 20);
  const gib = (amount: number): string => bytesText(amount * 2 ** 30);
  return [
    `${node.hypervisorHostname}  ${node.hypervisorType} ${versionText(node.hypervisorVersion)}, ${node.architecture}  service ${service.state}, ${enabled}  ${time}`,
    usageLine('vCPUs', node.vcpus, String),
    ...(node.pcpus ? [usageLine('own CPUs', node.pcpus, String)] : []),
    usageLine('memory', node.memoryMb, mib),
    usageLine('disk', node.diskGb, gib),
    `host: ${mib(node.memoryMbUsedByHost)} of memory and ${gib(node.diskGbUsedByHost)} of disk in use; ${node.instances} instances, ${node.runningInstances} running`,
    '',
    ...aligned([
      ['NAME', 'DOMAIN', 'STATE', 'VCPUS', 'CPU %', 'MEMORY', 'RSS', 'READ/S', 'WRITE/S', 'RX/S', 'TX/S'],
      ...instances.toSorted((a, b) => (a.name < b.name ? -1 : 1)).map(cells),
    ]),
  ];
}

/** In one line, for a pipe or a log. */
export function reportLine({ sequence, timestampMs, node, service }: FullReport): string {
  const { vcpus, memoryMb, diskGb } = node;
  const state = service.enabled ? service.state : `${service.state}, disabled: ${service.disabledReason}`;
  return (
    `${new Date(timestampMs).toISOString()} #${sequence} ${node.hypervisorHostname} ${state}; ` +
    `vCPUs ${vcpus.used}/${vcpus.limit}, memory ${memoryMb.used}/${memoryMb.limit} MiB, ` +
    `disk ${diskGb.used}/${diskGb.limit} GiB, ${node.runningInstances}/${node.instances} instances run`
  );
}

function cells({
  displayName,
  name,
  powerState,
  task,
  vcpus,
  pcpus,
  memoryMb,
  usage,
  rates,
}: InstanceReport): string[] {
  const bytes = (value: number | undefined): string =>
    value === undefined ? NONE : bytesText(Math.round(value));
  return [
    displayName,
    name,
    task === undefined ? powerState : `${powerState} (${task})`,
    String(vcpus + pcpus),
    rates ? rates.cpuPercent.toFixed(1) : NONE,
    bytesText((usage?.memoryMb ?? memoryMb) * 2 ** 20),
    bytes(usage?.rssBytes),
    bytes(rates?.diskReadBytes),
    bytes(rates?.diskWriteBytes),
    bytes(rates?.networkRxBytes),
    bytes(rates?.networkTxBytes),
  ];
}

function usageLine(
  name: string,
  { used, limit, total, reserved, allocationRatio }: ResourceUsage,
  text: (amount: number) => string,
): string {
  const share = limit > 0 ? Math.min(1, used / limit) : 0;
  const full = Math.round(share * BAR);
  const held = reserved > 0 ? `, ${text(reserved)} reserved` : '';
  return `${name.padEnd(9)}[${'#'.repeat(full)}${' '.repeat(BAR - full)}] ${text(used)} of ${text(limit)} (${text(total)} x ${allocationRatio}${held})`;
}

/** As libvirt counts: 7002022 is 7.2.22. */
function versionText(version: number): string {
  return `${Math.floor(version / 1e6)}.${Math.floor(version / 1000) % 1000}.${version % 1000}`;
}

function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  // Names to the left, figures to the right.
  return rows.map((row) =>
    row
      .map((cell, column) =>
        column < 3 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  );
}
