// What asks, or tells, and changes no instance: a guest's console and figures, the host's uptime, the switch of the service.
import { loadavg, uptime } from 'node:os';
import type { Diagnostics } from '../driver/diagnostics.js';
import { ComputeError } from '../driver/errors.js';
import type { ComputeHost } from './compute-host.js';
import { RpcFailure } from './errors.js';
import { uuidOf } from './instance-record.js';
import { novaFailure } from './nova-failure.js';
import { NovaObject } from './nova-object.js';
import type { RpcMethod } from './rpc-endpoint.js';

/** By the names of Nova's RPC. */
export function questions(host: ComputeHost): Record<string, RpcMethod> {
  const { node } = host;
  return {
    get_console_output: answered(async ({ instance, tail_length: lines }) => {
      const bytes = await node.console(instanceUuid(instance));
      return lastLines(new TextDecoder().decode(bytes), lines);
    }),
    get_diagnostics: answered(async ({ instance }) =>
      legacyDiagnostics(await node.guests.diagnostics(instanceUuid(instance))),
    ),
    get_instance_diagnostics: answered(async ({ instance }) =>
      diagnosticsObject(host, await node.guests.diagnostics(instanceUuid(instance))),
    ),
    get_host_uptime: () => hostUptime(),
    set_host_enabled: answered(async ({ enabled }) => {
      if (enabled === true) await node.service.enable();
      else await node.service.disable('disabled by an operator of the cloud');
      return enabled === true ? 'enabled' : 'disabled';
    }),
  };
}

/** What the caller's API knows, in the exceptions that it knows. */
function answered(method: (args: Readonly<Record<string, unknown>>) => Promise<unknown>): RpcMethod {
  return async (args) => {
    try {
      return await method(args);
    } catch (error) {
      if (!ComputeError.is(error)) throw error;
      const { code, message, operation, instanceUuid = '' } = error;
      if (code === 'INSTANCE_NOT_FOUND') throw novaFailure('InstanceNotFound', { instance_id: instanceUuid });
      if (code === 'INVALID_STATE') {
        const state = String(error.details['powerState'] ?? 'another');
        const words = { instance_uuid: instanceUuid, attr: 'power_state', state, method: operation ?? '' };
        throw novaFailure('InstanceInvalidState', words);
      }
      if (code === 'UNSUPPORTED')
        throw new RpcFailure({ class: 'NotImplementedError', module: 'builtins', message });
      throw error;
    }
  };
}

function instanceUuid(instance: unknown): string {
  if (instance instanceof NovaObject) return uuidOf(instance);
  throw new RpcFailure({ class: 'InstanceNotFound', message: 'the message has no instance' });
}

function lastLines(text: string, most: unknown): string {
  if (most == null || Number(most) < 0) return text;
  const lines = text.split('\n');
  const isWhole = lines.at(-1) === '';
  return lines.slice(-(Number(most) + (isWhole ? 1 : 0))).join('\n');
}

/** As the program of that name prints it. */
function hostUptime(): string {
  const seconds = uptime();
  const [days, hours, minutes] = [seconds / 86_400, (seconds / 3600) % 24, (seconds / 60) % 60].map(
    Math.floor,
  );
  const two = (value = 0): string => String(value).padStart(2, '0');
  const now = new Date().toTimeString().slice(0, 8);
  const load = loadavg().map((value) => value.toFixed(2));
  return ` ${now} up ${days} days, ${two(hours)}:${two(minutes)},  0 users,  load average: ${load.join(', ')}\n`;
}

/** Counters beyond 2^63 do not exist; a figure that is not known is null, as in Nova. */
function diagnosticsObject({ conductor }: ComputeHost, of: Diagnostics): NovaObject {
  const { cpuDetails, nicDetails, diskDetails, memoryDetails } = of;
  const known = (value: unknown): unknown => value ?? null;
  return conductor.newObject('Diagnostics', {
    state: of.state === 'nostate' ? 'pending' : of.state,
    driver: of.driver,
    hypervisor: of.hypervisor,
    hypervisor_os: of.hypervisorOs,
    uptime: known(of.uptimeSeconds),
    config_drive: of.configDrive,
    num_cpus: of.numCpus,
    num_nics: of.numNics,
    num_disks: of.numDisks,
    cpu_details: cpuDetails.map(({ id, timeNs }) =>
      conductor.newObject('CpuDiagnostics', { id, time: known(timeNs), utilisation: null }),
    ),
    nic_details: nicDetails.map((nic) =>
      conductor.newObject('NicDiagnostics', {
        mac_address: known(nic.macAddress),
        rx_octets: known(nic.rxOctets),
        rx_errors: known(nic.rxErrors),
        rx_drop: known(nic.rxDrop),
        rx_packets: known(nic.rxPackets),
        rx_rate: null,
        tx_octets: known(nic.txOctets),
        tx_errors: known(nic.txErrors),
        tx_drop: known(nic.txDrop),
        tx_packets: known(nic.txPackets),
        tx_rate: null,
      }),
    ),
    disk_details: diskDetails.map((disk) =>
      conductor.newObject('DiskDiagnostics', {
        read_bytes: known(disk.readBytes),
        read_requests: known(disk.readRequests),
        write_bytes: known(disk.writeBytes),
        write_requests: known(disk.writeRequests),
        errors_count: known(disk.errorsCount),
      }),
    ),
    memory_details: conductor.newObject('MemoryDiagnostics', {
      maximum: known(memoryDetails.maximumMib),
      used: known(memoryDetails.usedMib),
    }),
  });
}

/** Before microversion 2.48: the words of the libvirt driver. */
function legacyDiagnostics({ cpuDetails, diskDetails, nicDetails, memoryDetails }: Diagnostics): object {
  const entries: [string, unknown][] = [];
  for (const { id, timeNs } of cpuDetails) entries.push([`cpu${id}_time`, timeNs]);
  for (const disk of diskDetails) {
    const { name } = disk;
    entries.push(
      [`${name}_read_req`, disk.readRequests],
      [`${name}_read`, disk.readBytes],
      [`${name}_write_req`, disk.writeRequests],
      [`${name}_write`, disk.writeBytes],
      [`${name}_errors`, disk.errorsCount],
    );
  }
  nicDetails.forEach((nic, index) => {
    const name = nic.macAddress ?? `nic${index}`;
    entries.push([`${name}_rx`, nic.rxOctets], [`${name}_tx`, nic.txOctets]);
  });
  entries.push(['memory', (memoryDetails.maximumMib ?? 0) * 1024]);
  return Object.fromEntries(entries.map(([key, value]) => [key, value ?? null]));
}
