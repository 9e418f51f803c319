// A report in Prometheus' text format, version 0.0.4.
import type { FullReport, InstanceReport } from '../report.js';
import type { ResourceUsage } from '../types.js';

export const PROMETHEUS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

type Labels = Readonly<Record<string, string>>;
type Sample = readonly [labels: Labels, value: number | bigint | undefined];

const SECONDS_IN_NS = 1e9;

export function prometheusText(report: FullReport): string {
  return [...nodeMetrics(report), ...instanceMetrics(report.instances)].join('');
}

function nodeMetrics({ service, node, nodeUuid, timestampMs }: FullReport): string[] {
  const { hypervisorHostname: host, hypervisorType: type, hypervisorVersion, architecture } = node;
  const info = { host, uuid: nodeUuid, hypervisor: type, hypervisor_version: String(hypervisorVersion) };
  const one = (value: number): Sample[] => [[{}, value]];
  const resources: readonly (readonly [string, ResourceUsage | undefined])[] = [
    ['vcpus', node.vcpus],
    ['memory_mb', node.memoryMb],
    ['disk_gb', node.diskGb],
    ['pcpus', node.pcpus],
  ];
  const of = (pick: (usage: ResourceUsage) => number): Sample[] =>
    resources.flatMap(([resource, usage]) => (usage ? [[{ resource }, pick(usage)] as const] : []));
  return [
    gauge('node_info', 'Of the node; always 1.', [[{ ...info, architecture, version: service.version }, 1]]),
    gauge('service_up', '1 while the hypervisor can be reached.', one(Number(service.state === 'up'))),
    gauge('service_enabled', '1 while schedulers should give it instances.', [
      [{ disabled_by: service.disabledBy ?? '' }, Number(service.enabled)],
    ]),
    gauge(
      'service_last_seen_seconds',
      'When the hypervisor answered last, since 1970.',
      one(service.lastSeenMs / 1000),
    ),
    gauge(
      'service_build_failures',
      'Launches that failed one after another.',
      one(service.consecutiveBuildFailures),
    ),
    gauge('report_seconds', 'When this report was made, since 1970.', one(timestampMs / 1000)),
    gauge(
      'resource_total',
      'What the host has.',
      of(({ total }) => total),
    ),
    gauge(
      'resource_reserved',
      'What is held back for the host.',
      of(({ reserved }) => reserved),
    ),
    gauge(
      'resource_limit',
      'What may be claimed.',
      of(({ limit }) => limit),
    ),
    gauge(
      'resource_used',
      'What is claimed.',
      of(({ used }) => used),
    ),
    gauge(
      'resource_allocation_ratio',
      'How far it is overcommitted.',
      of((usage) => usage.allocationRatio),
    ),
    gauge(
      'host_memory_used_bytes',
      'As the kernel counts it, whoever uses it.',
      one(node.memoryMbUsedByHost * 2 ** 20),
    ),
    gauge(
      'host_disk_used_bytes',
      'Of the file system of the instances.',
      one(node.diskGbUsedByHost * 2 ** 30),
    ),
    gauge(
      'host_disk_available_least_bytes',
      'Free when sparse disks have grown to their size.',
      one(node.diskAvailableLeastGb * 2 ** 30),
    ),
    gauge('instances', 'Instances of this node.', one(node.instances)),
    gauge('instances_running', 'Those that run or are paused.', one(node.runningInstances)),
  ];
}

function instanceMetrics(instances: readonly InstanceReport[]): string[] {
  const each = (pick: (instance: InstanceReport) => number | bigint | undefined): Sample[] =>
    instances.map((instance) => [{ uuid: instance.uuid, domain: instance.name }, pick(instance)]);
  const state = instances.map(
    ({ uuid, name, powerState }): Sample => [{ uuid, domain: name, state: powerState }, 1],
  );
  return [
    gauge('instance_state', 'Its power state, as a label; always 1.', state),
    gauge(
      'instance_vcpus',
      'vCPUs claimed, those with host CPUs of their own included.',
      each(({ vcpus, pcpus }) => vcpus + pcpus),
    ),
    gauge(
      'instance_memory_claimed_bytes',
      'Memory claimed.',
      each(({ memoryMb }) => memoryMb * 2 ** 20),
    ),
    counter(
      'instance_cpu_seconds_total',
      'CPU time used.',
      each(({ usage }) => usage && Number(usage.cpuTimeNs) / SECONDS_IN_NS),
    ),
    gauge(
      'instance_memory_bytes',
      'What the balloon gives it.',
      each(({ usage }) => usage && usage.memoryMb * 2 ** 20),
    ),
    gauge(
      'instance_rss_bytes',
      'Resident memory of its emulator.',
      each(({ usage }) => usage?.rssBytes),
    ),
    gauge(
      'instance_disk_allocated_bytes',
      'Of its files on the host.',
      each(({ usage }) => usage?.diskAllocatedBytes),
    ),
    counter(
      'instance_disk_read_bytes_total',
      'Read by the guest.',
      each(({ usage }) => usage?.disk?.readBytes),
    ),
    counter(
      'instance_disk_written_bytes_total',
      'Written by the guest.',
      each(({ usage }) => usage?.disk?.writeBytes),
    ),
    counter(
      'instance_disk_reads_total',
      'Requests of the guest.',
      each(({ usage }) => usage?.disk?.readRequests),
    ),
    counter(
      'instance_disk_writes_total',
      'Requests of the guest.',
      each(({ usage }) => usage?.disk?.writeRequests),
    ),
    counter(
      'instance_network_receive_bytes_total',
      'Received by the guest.',
      each(({ usage }) => usage?.network?.rxBytes),
    ),
    counter(
      'instance_network_transmit_bytes_total',
      'Sent by the guest.',
      each(({ usage }) => usage?.network?.txBytes),
    ),
  ];
}

function gauge(name: string, help: string, samples: readonly Sample[]): string {
  return metric('gauge', name, help, samples);
}

function counter(name: string, help: string, samples: readonly Sample[]): string {
  return metric('counter', name, help, samples);
}

/** Nothing at all where no sample has a value: a figure without a source is no zero. */
function metric(type: 'gauge' | 'counter', name: string, help: string, samples: readonly Sample[]): string {
  const full = `node_compute_${name}`;
  const lines = samples.flatMap(([labels, value]) =>
    value === undefined ? [] : [`${full}${labelText(labels)} ${value}\n`],
  );
  return lines.length === 0 ? '' : `# HELP ${full} ${help}\n# TYPE ${full} ${type}\n${lines.join('')}`;
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
