// A sink that keeps OpenStack Placement in step: this node as a provider, its instances as consumers.
import type { FullReport, InstanceReport } from '../report.js';
import type { ReportSink, ReportUpdate, SinkLog } from '../sink.js';
import { retried } from './generations.js';
import { type Consumer, PlacementApi, type Resources } from './placement-api.js';
import { PlacementProvider } from './placement-provider.js';
import type { PlacementTransport } from './placement-transport.js';
import { inventoriesOf, resourcesOf, sameResources, traitsOf } from './provider-facts.js';

export interface PlacementSinkOptions {
  /** Beside those of the host. Custom ones (`CUSTOM_...`) are created. */
  readonly traits?: readonly string[];
  /** uuids of aggregates that the provider joins. */
  readonly aggregates?: readonly string[];
  /** Owner of the allocations of an instance that has none. Default: a uuid of zeros. */
  readonly projectId?: string;
  readonly userId?: string;
  /** Take the provider away when the reporter is closed, where no instance has allocations of it. Default false. */
  readonly removeOnClose?: boolean;
  readonly log?: SinkLog;
}

/** Of the consumers that we make: of others (Nova's are INSTANCE) nothing is ever changed. */
export const CONSUMER_TYPE = 'NODE_COMPUTE';

const NOBODY = '00000000-0000-0000-0000-000000000000';
const CLOSE_TIMEOUT_MS = 10_000;

/**
 * The first report, and the first after a failure, is set against all that Placement has; later ones change what they
 * change. An instance whose consumer a scheduler has made keeps those allocations: they are the scheduler's to remove.
 */
export class PlacementSink implements ReportSink {
  readonly name = 'placement';
  readonly #transport: PlacementTransport;
  readonly #options: PlacementSinkOptions;
  readonly #provider: PlacementProvider;
  /** What each instance was given at our last look. */
  readonly #allocated = new Map<string, Resources>();
  /** The facts of the provider that Placement has from us: most reports change none of them. */
  #told: string | undefined;
  #nodeUuid: string | undefined;

  constructor(transport: PlacementTransport, options: PlacementSinkOptions = {}) {
    this.#transport = transport;
    this.#options = options;
    this.#provider = new PlacementProvider({
      traits: options.traits ?? [],
      aggregates: options.aggregates ?? [],
    });
  }

  async deliver({ report, delta }: ReportUpdate, signal: AbortSignal): Promise<void> {
    const api = new PlacementApi(this.#transport, signal);
    if (!delta) return await this.#synchronize(api, report);
    if (delta.node || delta.service || delta.inventory) await this.#updateProvider(api, report);
    await this.#allocate(api, report.nodeUuid, delta.instances, delta.removed);
  }

  async close(): Promise<void> {
    try {
      if (this.#options.removeOnClose && this.#nodeUuid !== undefined) await this.#remove(this.#nodeUuid);
    } finally {
      await this.#transport.close();
    }
  }

  async #synchronize(api: PlacementApi, report: FullReport): Promise<void> {
    const { nodeUuid, instances } = report;
    this.#told = undefined;
    await this.#provider.ensure(api, report);
    this.#nodeUuid = nodeUuid;
    await this.#updateProvider(api, report);
    this.#allocated.clear();
    for (const [consumer, resources] of await api.allocationsOf(nodeUuid)) {
      this.#allocated.set(consumer, resources);
    }
    const here = new Set(instances.map(({ uuid }) => uuid));
    const gone = [...this.#allocated.keys()].filter((uuid) => !here.has(uuid));
    await this.#allocate(api, nodeUuid, instances, gone);
  }

  async #updateProvider(api: PlacementApi, report: FullReport): Promise<void> {
    const facts = JSON.stringify([inventoriesOf(report), traitsOf(report, [])]);
    if (facts === this.#told) return;
    await this.#provider.update(api, report);
    this.#told = facts;
  }

  /** All of them are tried; the first that failed is told. */
  async #allocate(
    api: PlacementApi,
    nodeUuid: string,
    instances: readonly InstanceReport[],
    gone: readonly string[],
  ): Promise<void> {
    const failures: unknown[] = [];
    // First what makes room.
    const wanted = [
      ...gone.map((uuid) => ({ uuid, resources: {}, instance: undefined })),
      ...instances.map((instance) => ({ uuid: instance.uuid, resources: resourcesOf(instance), instance })),
    ];
    for (const { uuid, resources, instance } of wanted) {
      if (sameResources(this.#allocated.get(uuid) ?? {}, resources)) continue;
      try {
        await retried(() => this.#set(api, nodeUuid, uuid, resources, instance));
        if (Object.keys(resources).length === 0) this.#allocated.delete(uuid);
        else this.#allocated.set(uuid, resources);
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  /** What the consumer has of other providers, in the middle of a migration, stays. */
  async #set(
    api: PlacementApi,
    nodeUuid: string,
    uuid: string,
    resources: Resources,
    instance: InstanceReport | undefined,
  ): Promise<void> {
    const standing = await api.consumer(uuid);
    if (standing.generation !== null && standing.type !== CONSUMER_TYPE) return;
    const { [nodeUuid]: own, ...others } = standing.allocations;
    if (sameResources(own?.resources ?? {}, resources)) return;
    const has = Object.keys(resources).length > 0;
    const allocations = has ? { ...others, [nodeUuid]: { resources } } : others;
    await api.setConsumer(uuid, { ...this.#owner(standing, instance), allocations });
  }

  #owner(standing: Consumer, instance: InstanceReport | undefined): Omit<Required<Consumer>, 'allocations'> {
    const { projectId = NOBODY, userId = NOBODY } = this.#options;
    return {
      generation: standing.generation,
      type: CONSUMER_TYPE,
      projectId: instance?.projectId ?? standing.projectId ?? projectId,
      userId: instance?.userId ?? standing.userId ?? userId,
    };
  }

  async #remove(nodeUuid: string): Promise<void> {
    const api = new PlacementApi(this.#transport, AbortSignal.timeout(CLOSE_TIMEOUT_MS));
    const removed = await api.removeProvider(nodeUuid);
    if (!removed) {
      this.#options.log?.warn('the provider stays in Placement: instances have allocations of it', {
        nodeUuid,
      });
    }
  }
}
