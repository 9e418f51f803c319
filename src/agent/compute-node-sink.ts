// The host's ComputeNode record at the conductor, which schedulers read: made once, then kept as the reports say.
import { ComputeError } from '../driver/errors.js';
import type { FullReport } from '../resources/report.js';
import type { ReportSink, ReportUpdate } from '../resources/sink.js';
import type { Conductor } from './conductor.js';
import type { NovaObject } from './nova-object.js';

type Fields = Readonly<Record<string, unknown>>;

/** Of Nova's architectures those of hosts: it refuses a record with one that it does not know. */
const KNOWN: ReadonlySet<string> = new Set([
  'x86_64',
  'i686',
  'aarch64',
  'armv7l',
  'ppc64',
  'ppc64le',
  's390x',
]);

export interface ComputeNodeSinkOptions {
  readonly conductor: Conductor;
  readonly host: string;
  /** Address of the host, as the API shows it. */
  readonly hostIp: string;
  /** When the queues of the host are consumed: schedulers send as soon as they see the record. */
  readonly ready: Promise<void>;
}

export class ComputeNodeSink implements ReportSink {
  readonly name = 'compute-node';
  readonly #options: ComputeNodeSinkOptions;
  #record: NovaObject | undefined;
  /** That the conductor has from us: most reports change none of it. */
  #told: string | undefined;

  constructor(options: ComputeNodeSinkOptions) {
    this.#options = options;
  }

  async deliver({ report, delta }: ReportUpdate, signal: AbortSignal): Promise<void> {
    const { conductor, ready } = this.#options;
    await ready;
    // After a failure what is stored is not known.
    if (!delta) this.#told = undefined;
    const fields = fieldsOf(report);
    const told = JSON.stringify(fields);
    if (told === this.#told) return;
    this.#record ??= await this.#ensure(report, signal);
    for (const [field, value] of Object.entries({ ...fields, ...this.#fixed(report) })) {
      this.#record.set(field, value);
    }
    await conductor.save(this.#record, { signal });
    this.#told = told;
  }

  async #ensure(report: FullReport, signal: AbortSignal): Promise<NovaObject> {
    const { conductor, host } = this.#options;
    const { node, nodeUuid: uuid } = report;
    const found = await conductor.findComputeNode(host, node.hypervisorHostname, { signal });
    if (found) {
      if (found.get('uuid') === uuid) return found;
      throw new ComputeError(
        'HOST_UNSUITABLE',
        `Nova knows ${host} as ${String(found.get('uuid'))}, this node is ${uuid}: give back its uuid to the file service in its instances path, or delete the service from Nova`,
        { operation: 'register', details: { uuid, known: found.get('uuid') } },
      );
    }
    const record = conductor.newObject('ComputeNode', {
      uuid,
      host,
      hypervisor_hostname: node.hypervisorHostname,
      ...fieldsOf(report),
      ...this.#fixed(report),
    });
    await conductor.create(record, { signal });
    return record;
  }

  /** Objects and texts that a report does not change. */
  #fixed({ node, inventory }: FullReport): Fields {
    const { conductor, hostIp } = this.#options;
    const cpu = inventory?.cpu;
    const info = {
      arch: node.architecture,
      model: node.cpuModel,
      vendor: cpu?.vendor ?? '',
      topology: { sockets: cpu?.sockets ?? 1, cores: cpu?.cores ?? 1, threads: cpu?.threads ?? 1 },
      features: cpu?.features ?? [],
    };
    const guests = inventory?.guests ?? [{ architecture: node.architecture, domainType: 'qemu' }];
    return {
      host_ip: hostIp,
      cpu_info: JSON.stringify(info),
      metrics: '[]',
      supported_hv_specs: guests
        .filter(({ architecture }) => KNOWN.has(architecture))
        .map(({ architecture, domainType }) =>
          conductor.newObject('HVSpec', { arch: architecture, hv_type: domainType, vm_mode: 'hvm' }),
        ),
    };
  }
}

/** Used is what is promised, and what the host keeps for itself, as Nova counts it. */
function fieldsOf({ node, instances, service }: FullReport): Fields {
  const { vcpus, memoryMb, diskGb } = node;
  const memoryUsed = memoryMb.used + Math.ceil(memoryMb.reserved);
  const diskUsed = diskGb.used + Math.ceil(diskGb.reserved);
  const [memory, disk] = [Math.floor(memoryMb.total), Math.floor(diskGb.total)];
  return {
    hypervisor_type: node.hypervisorType,
    hypervisor_version: node.hypervisorVersion,
    vcpus: vcpus.total,
    vcpus_used: vcpus.used,
    cpu_allocation_ratio: vcpus.allocationRatio,
    memory_mb: memory,
    memory_mb_used: memoryUsed,
    free_ram_mb: memory - memoryUsed,
    ram_allocation_ratio: memoryMb.allocationRatio,
    local_gb: disk,
    local_gb_used: diskUsed,
    free_disk_gb: disk - diskUsed,
    disk_allocation_ratio: diskGb.allocationRatio,
    disk_available_least: Math.floor(node.diskAvailableLeastGb),
    running_vms: node.runningInstances,
    current_workload: instances.filter(({ task }) => task !== undefined).length,
    stats: { failed_builds: String(service.consecutiveBuildFailures) },
  };
}
