// What an agent is told: its broker, Placement, node, and how it behaves.
import type { PlacementOptions } from '../node/placement.js';
import type { ComputeNodeOptions, Logger } from '../node/types.js';
import type { ReportSink } from '../resources/sink.js';
import type { AmqpBrokerOptions } from './amqp-broker.js';
import type { CinderOptions } from './cinder/cinder.js';
import type { NeutronOptions } from './neutron/neutron.js';

/** Nova's options [vnc]; where the guests' servers listen is the driver's option `vncListen`. */
export interface VncOptions {
  /** What a user's browser opens, such as `https://cloud.example.org:6080/vnc_lite.html`: novncproxy_base_url. */
  readonly novncProxyBaseUrl: string;
  /** By which the proxy reaches the VNC servers of this host: server_proxyclient_address. Default 127.0.0.1, Nova's. */
  readonly proxyClientAddress?: string;
  /** How long a user has to open what he was given. Default 600, Nova's token_ttl. */
  readonly tokenTtlSeconds?: number;
}

export interface ComputeAgentOptions {
  /** RabbitMQ as Nova's services have it: `url` is their transport_url. */
  readonly broker: AmqpBrokerOptions;
  readonly placement: PlacementOptions;
  /** Neutron, as an administrator. Default none: servers have no networks. */
  readonly network?: NeutronOptions;
  /** Cinder, as a service of the cloud. Default none: servers have no volumes. */
  readonly volume?: CinderOptions;
  /** Of the node that it opens and closes. Images come from the Glance of its driver's options. */
  readonly node?: ComputeNodeOptions;
  /** Its name in Nova, and that of its queue: never to be changed. Default: that of the machine. */
  readonly host?: string;
  /** The address that Nova shows, and Cinder is told. Default: the machine's first that is not of the loopback. */
  readonly hostIp?: string;
  /** Commands that are taken and not finished. Absolute. Default: `commands` beside the instances path. */
  readonly journalPath?: string;
  /** Milliseconds between two reports of the service; Nova takes a host for dead after 60 s. Default 10000. */
  readonly reportIntervalMs?: number;
  /** Milliseconds between two samples of the host; what changes is told at once. Default 60000. */
  readonly resourceIntervalMs?: number;
  /** Milliseconds that a guest is given to shut itself down. Default 60000, Nova's shutdown_timeout. */
  readonly shutdownTimeoutMs?: number;
  /** Milliseconds that a command waits for a hypervisor or a Glance that is away. Default 600000, ten minutes. */
  readonly outageTimeoutMs?: number;
  /** Builds at once. Default 10, Nova's max_concurrent_builds. */
  readonly maxConcurrentBuilds?: number;
  /** Consoles for users by a novncproxy of the cloud. Default none: they are told that there is no such console. */
  readonly vnc?: VncOptions;
  /**
   * Servers that are shelved leave the host at once, as where Nova's shelved_offload_time is 0; else they stay until they are
   * offloaded, its -1. Default true.
   */
  readonly offloadShelved?: boolean;
  /**
   * Milliseconds after which servers that were soft-deleted are deleted, Nova's reclaim_instance_interval: as its API has it.
   * Default 0, never.
   */
  readonly reclaimIntervalMs?: number;
  /** Beside Placement and Nova. */
  readonly sinks?: readonly ReportSink[];
  readonly logger?: Logger;
}
