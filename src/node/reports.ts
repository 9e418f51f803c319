// The reporters of a node: what they report of, and their end with the node.
import { ComputeError } from '../driver/errors.js';
import type { ReportedInstance, ReportSource } from '../resources/report-source.js';
import { type ReporterOptions, ResourceReporter } from '../resources/resource-reporter.js';
import type { NodeContext } from './node-context.js';
import { asComputeError } from './node-errors.js';
import type { NodeEvents } from './node-events.js';
import type { ServiceRecord } from './service-record.js';

export class NodeReporters {
  readonly #context: NodeContext;
  readonly #events: NodeEvents;
  readonly #record: ServiceRecord;
  readonly #reporters = new Set<Promise<ResourceReporter>>();
  #closed = false;

  constructor(context: NodeContext, events: NodeEvents, record: ServiceRecord) {
    this.#context = context;
    this.#events = events;
    this.#record = record;
  }

  async open(options: ReporterOptions): Promise<ResourceReporter> {
    if (this.#closed)
      throw new ComputeError('CLOSED', 'reporter: the node is closed', { operation: 'reporter' });
    const opening = this.#open(options);
    this.#reporters.add(opening);
    try {
      return await opening;
    } catch (error) {
      this.#reporters.delete(opening);
      throw asComputeError(error, 'reporter');
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled([...this.#reporters].map(async (opening) => (await opening).close()));
  }

  async #open(options: ReporterOptions): Promise<ResourceReporter> {
    const { driver, tracker, service, log, instances } = this.#context;
    const source: ReportSource = {
      nodeUuid: await this.#record.keep(),
      driver,
      tracker,
      service,
      log,
      instances: () => reported(instances.values()),
      events: (subscription) => this.#events.subscribe(subscription),
    };
    return await ResourceReporter.open(source, options);
  }
}

function* reported(instances: ReturnType<NodeContext['instances']['values']>): Generator<ReportedInstance> {
  for (const { instance, task } of instances) {
    const { uuid, name, displayName, projectId, userId } = instance;
    yield { uuid, name, displayName, projectId, userId, task };
  }
}
