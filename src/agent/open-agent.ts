// Start-up of an agent: node, broker, registration, queues; given back in reverse when a part fails.
import { setMaxListeners } from 'node:events';
import { hostname, networkInterfaces } from 'node:os';
import { dirname, join } from 'node:path';
import type { Undo } from '../driver/undo.js';
import { ComputeNode } from '../node/compute-node.js';
import { imageDirectory } from '../node/image-directory.js';
import { DEFAULT_INSTANCES_PATH } from '../node/node-options.js';
import { placementSink, placementTransport } from '../node/placement.js';
import type { Logger } from '../node/types.js';
import { PlacementApi } from '../resources/placement/placement-api.js';
import type { ResourceReporter } from '../resources/resource-reporter.js';
import type { ComputeAgentOptions } from './agent-options.js';
import type { BrokerState } from './amqp-broker.js';
import { checkedMethods } from './arguments.js';
import { backupCommand } from './backup-command.js';
import type { Broker } from './broker.js';
import { buildCommand } from './build-command.js';
import { cacheImages } from './cache-images.js';
import { connectorOf } from './cinder/connector.js';
import { InstanceVolumes } from './cinder/instance-volumes.js';
import { FileCommandJournal } from './command-journal.js';
import { Busy, type ComputeHost } from './compute-host.js';
import { ComputeNodeSink } from './compute-node-sink.js';
import { Conductor } from './conductor.js';
import { consoles } from './consoles.js';
import { ownContext } from './context.js';
import { Deferred } from './deferred.js';
import { externalEvents } from './external-events.js';
import { guestCommands } from './guest-commands.js';
import { HostService } from './host-service.js';
import { InstanceSync } from './instance-sync.js';
import { interfaceCommands } from './interface-commands.js';
import { LimitedLog } from './limited-log.js';
import { InstanceNetworks } from './neutron/instance-networks.js';
import { HEAL_MS, NetworkHealing } from './neutron/network-healing.js';
import { persist } from './persist.js';
import { powerCommands } from './power-commands.js';
import { questions } from './questions.js';
import { rebuildCommand } from './rebuild-command.js';
import { zed } from './releases/zed.js';
import { ReportLog } from './report-log.js';
import { resizeCommands } from './resize-commands.js';
import { RpcClient } from './rpc-client.js';
import { pingEndpoint, type RpcEndpoint } from './rpc-endpoint.js';
import { RpcServer } from './rpc-server.js';
import { Schedulers } from './scheduler.js';
import { shelveCommands } from './shelve-commands.js';
import { snapshotCommand } from './snapshot-command.js';
import { terminateCommand } from './terminate-command.js';
import { unshelveCommand } from './unshelve-command.js';
import { unsupportedCalls } from './unsupported-calls.js';
import { unsupportedCommands } from './unsupported-commands.js';
import { volumeCommands } from './volume-commands.js';

const REPORT_MS = 10_000;
const RESOURCE_MS = 60_000;
const SHUTDOWN_MS = 60_000;
const OUTAGE_MS = 600_000;
const BUILDS = 10;
/** Nova's max_concurrent_snapshots. */
const SNAPSHOTS = 5;
const RESIZES = 5;
const EVENTS = 64;
export interface AgentParts {
  readonly host: ComputeHost;
  readonly broker: Broker;
  readonly client: RpcClient;
  readonly server: RpcServer;
  readonly reports: ReportLog;
  readonly log: LimitedLog;
  readonly service: HostService;
  readonly reporter: ResourceReporter;
  readonly sync: InstanceSync;
  readonly healing: NetworkHealing | undefined;
  readonly placement: { close(): Promise<void> };
  readonly stop: AbortController;
}

/** Rejects with what the node says, and with the signal's reason. */
export async function openParts(
  options: ComputeAgentOptions,
  log: Logger,
  undo: Undo,
  openSignal: AbortSignal | undefined,
): Promise<AgentParts> {
  const stop = new AbortController();
  // Each command under way listens.
  setMaxListeners(0, stop.signal);
  const onAbort = (): void => stop.abort(openSignal?.reason);
  openSignal?.throwIfAborted();
  openSignal?.addEventListener('abort', onAbort, { once: true });
  undo.add('work', async () => stop.abort());
  const node = await ComputeNode.open({ logger: log, ...options.node });
  undo.add('node', () => node.close());
  // Loaded with the first agent: importing this package loads no amqplib.
  const { AmqpBroker } = await import('./amqp-broker.js');
  let sync: InstanceSync | undefined;
  const onState = (state: BrokerState): void => {
    logBroker(log, state);
    if (state.state === 'connected') sync?.passSoon();
  };
  const broker = new AmqpBroker({ onState, ...options.broker });
  undo.add('broker', () => broker.close());
  const { signal } = stop;
  const limited = new LimitedLog(log);
  undo.add('log', async () => limited.flush());
  const client = await RpcClient.open(broker, { context: ownContext(), signal });
  undo.add('client', () => client.close());
  const conductor = new Conductor(client, zed);
  await persist(signal, () => conductor.ping({ signal }));
  const transport = placementTransport(options.placement);
  undo.add('placement', () => transport.close());
  const images = imageDirectory(options.node?.driverOptions);
  undo.add('images', () => images.close());
  const name = options.host ?? hostname();
  const service = await HostService.register({
    conductor,
    release: zed,
    host: name,
    intervalMs: options.reportIntervalMs ?? REPORT_MS,
    status: () => node.service.status,
    log,
    signal,
  });
  undo.add('service', () => service.close());
  const networks =
    options.network &&
    new InstanceNetworks({ neutron: options.network, conductor, hostName: name, log, signal });
  if (networks) undo.add('networks', () => networks.close());
  const hostIp = options.hostIp ?? firstAddress();
  const connector = connectorOf(name, hostIp);
  const { outageTimeoutMs = OUTAGE_MS } = options;
  const volumes =
    options.volume &&
    new InstanceVolumes({ cinder: options.volume, node, conductor, connector, outageTimeoutMs, log, signal });
  if (volumes) undo.add('volumes', () => volumes.close());
  const ready = new Deferred<void>();
  const reporter = await openReporter(options, node, conductor, { host: name, hostIp, ready: ready.promise });
  const host: ComputeHost = {
    name,
    nodeName: reporter.report.node.hypervisorHostname,
    nodeUuid: reporter.report.nodeUuid,
    node,
    conductor,
    schedulers: new Schedulers(client, zed),
    client,
    release: zed,
    placement: new PlacementApi(transport, signal),
    images,
    networks,
    hasConsoles: options.vnc !== undefined,
    volumes,
    log: limited,
    shutdownTimeoutMs: options.shutdownTimeoutMs ?? SHUTDOWN_MS,
    outageTimeoutMs,
    signal,
    busy: new Busy(),
  };
  const reports = new ReportLog(host.log);
  const server = await openServer(options, host, broker, reports, stop.signal);
  undo.add('server', () => server.close());
  ready.resolve();
  const syncing = new InstanceSync(host, options.reclaimIntervalMs ?? 0);
  sync = syncing;
  undo.add('sync', () => syncing.close());
  const { healIntervalMs = HEAL_MS } = options.network ?? {};
  const healing = networks && new NetworkHealing(host, networks, healIntervalMs);
  if (healing) undo.add('healing', () => healing.close());
  // First of all: the others wait for what is under way.
  undo.add('work under way', () => stop.abort());
  await syncing.pass();
  openSignal?.removeEventListener('abort', onAbort);
  log.info(`host ${name} serves Nova as the node ${host.nodeName}`, {
    host: name,
    node: host.nodeName,
    nodeUuid: host.nodeUuid,
  });
  return {
    host,
    broker,
    client,
    server,
    reports,
    log: limited,
    service,
    reporter,
    sync: syncing,
    healing,
    placement: transport,
    stop,
  };
}

async function openReporter(
  options: ComputeAgentOptions,
  node: ComputeNode,
  conductor: Conductor,
  of: { readonly host: string; readonly hostIp: string; readonly ready: Promise<void> },
): Promise<ResourceReporter> {
  const record = new ComputeNodeSink({ conductor, ...of });
  return await node.reporter({
    intervalMs: options.resourceIntervalMs ?? RESOURCE_MS,
    sinks: [record, placementSink(options.placement), ...(options.sinks ?? [])],
  });
}

async function openServer(
  options: ComputeAgentOptions,
  host: ComputeHost,
  broker: Broker,
  reports: ReportLog,
  signal: AbortSignal,
): Promise<RpcServer> {
  const instancesPath = options.node?.instancesPath ?? DEFAULT_INSTANCES_PATH;
  const journal = await FileCommandJournal.open(
    options.journalPath ?? join(dirname(instancesPath), 'commands'),
    {
      onDropped: (folder, { length: count }) =>
        host.log.warn(`${count} of the oldest files in ${folder} of the journal went for newer ones`, {
          folder,
          count,
        }),
    },
  );
  return await RpcServer.open(broker, {
    topic: 'compute',
    host: host.name,
    journal,
    endpoints: endpoints(host, options),
    // Those that move the bytes of whole disks wait for their own kind alone.
    mostCommandsOf: {
      build_and_run_instance: options.maxConcurrentBuilds ?? BUILDS,
      snapshot_instance: SNAPSHOTS,
      backup_instance: SNAPSHOTS,
      shelve_instance: SNAPSHOTS,
      unshelve_instance: SNAPSHOTS,
      prep_resize: RESIZES,
      rebuild_instance: RESIZES,
      swap_volume: RESIZES,
      // A build may wait for one.
      external_instance_event: EVENTS,
    },
    onReport: (report) => reports.add(report),
    cutShort: host.signal,
    signal,
  });
}

function endpoints(
  host: ComputeHost,
  { vnc, offloadShelved: offloads = true }: ComputeAgentOptions,
): readonly RpcEndpoint[] {
  const { attach_interface, detach_interface } = interfaceCommands(host);
  const { reserve_block_device_name, ...volumeCasts } = volumeCommands(host);
  return [
    pingEndpoint('compute'),
    {
      version: host.release.rpcVersions.compute,
      methods: checkedMethods({
        ...unsupportedCalls(host),
        ...questions(host),
        ...consoles(host, vnc),
        cache_images: cacheImages(host),
        attach_interface,
        reserve_block_device_name,
      }),
      commands: checkedMethods({
        ...unsupportedCommands(host),
        ...powerCommands(host),
        ...guestCommands(host),
        detach_interface,
        ...volumeCasts,
        external_instance_event: externalEvents(host),
        build_and_run_instance: buildCommand(host),
        terminate_instance: terminateCommand(host),
        snapshot_instance: snapshotCommand(host),
        backup_instance: backupCommand(host),
        ...shelveCommands(host, { offloads }),
        unshelve_instance: unshelveCommand(host),
        rebuild_instance: rebuildCommand(host),
        ...resizeCommands(host),
      }),
    },
  ];
}

function logBroker(log: Logger, state: BrokerState): void {
  if (state.state === 'connected') log.info(`connected to the broker at ${state.host}`);
  else log.warn(`not connected to the broker at ${state.host}: ${state.error.message}`);
}

function firstAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return all.find(({ internal, family }) => !internal && family === 'IPv4')?.address ?? '127.0.0.1';
}
