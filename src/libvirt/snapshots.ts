// Snapshots of instances: which way by their state, step after step, each undone when a later one fails.

import type { SnapshotOptions } from '../driver/compute-driver.js';
import { Deadline } from '../driver/deadline.js';
import { ComputeError } from '../driver/errors.js';
import type { Instance } from '../driver/model.js';
import type { SnapshotResult, SnapshotTarget } from '../driver/snapshot.js';
import { type ImageFormat, parseSnapshotFormat, parseSnapshotTarget } from '../driver/snapshot-schema.js';
import { Undo } from '../driver/undo.js';
import { GlanceClient } from '../image/glance-client.js';
import { parseGlanceOptions } from '../image/glance-options.js';
import { callNative } from '../native.js';
import type { CallContext } from './hypervisor.js';
import { wrongState } from './instance-call.js';
import { InstanceFiles } from './instance-files.js';
import { Snapshot, type SnapshotsHost, snapshotDirectory } from './snapshot.js';
import { SnapshotCopy } from './snapshot-copy.js';
import { type Destination, destinationOf, type SnapshotContext } from './snapshot-destination.js';
import { powerState } from './states.js';

/** One hour: a large disk has to be copied, compressed and sent. */
const SNAPSHOT_TIMEOUT_MS = 3_600_000;
const UNDO_TIMEOUT_MS = 120_000;
export class Snapshots {
  readonly #host: SnapshotsHost;
  readonly #running = new Map<string, { readonly deadline: Deadline; readonly done: Promise<unknown> }>();
  #glance: GlanceClient | undefined;

  constructor(host: SnapshotsHost) {
    this.#host = host;
  }

  async take(instance: Instance, target: SnapshotTarget, options: SnapshotOptions): Promise<SnapshotResult> {
    const operation = 'snapshot';
    const { uuid } = instance;
    const wanted = parseSnapshotTarget(target, uuid);
    const format = parseSnapshotFormat(options, uuid);
    const { signal, timeoutMs = SNAPSHOT_TIMEOUT_MS } = options;
    using deadline = new Deadline({ operation, instanceUuid: uuid, signal, timeoutMs });
    deadline.check();
    if (this.#running.has(uuid)) {
      throw new ComputeError('INSTANCE_BUSY', `snapshot: one of instance ${uuid} is under way already`, {
        operation,
        instanceUuid: uuid,
        retryable: true,
      });
    }
    const context: SnapshotContext = { operation, instanceUuid: uuid, signal: deadline.signal };
    const done = this.#take(instance, wanted, format, options, context);
    this.#running.set(uuid, { deadline, done });
    try {
      return await done;
    } catch (error) {
      throw deadline.explain(error);
    } finally {
      this.#running.delete(uuid);
    }
  }

  /** What a process that died left. */
  async undo(instance: Instance, target: SnapshotTarget, options: SnapshotOptions): Promise<void> {
    const { uuid } = instance;
    const operation = 'undoSnapshot';
    const { signal, timeoutMs = UNDO_TIMEOUT_MS } = options;
    const wanted = parseSnapshotTarget(target, uuid);
    using deadline = new Deadline({ operation, instanceUuid: uuid, signal, timeoutMs });
    try {
      deadline.check();
      const context = { operation, instanceUuid: uuid, signal: deadline.signal };
      await this.#removeLeftovers(instance, context);
      await this.#destination(instance, wanted).undoUnfinished(deadline.signal);
    } catch (error) {
      throw deadline.explain(error);
    }
  }

  /** Those under way are undone. */
  async close(): Promise<void> {
    const running = [...this.#running.values()];
    for (const { deadline } of running) deadline.end('CLOSED', 'was cut short: the driver is closing');
    await Promise.allSettled(running.map(({ done }) => done));
    await this.#glance?.close();
  }

  async #take(
    instance: Instance,
    target: SnapshotTarget,
    format: ImageFormat,
    options: SnapshotOptions,
    context: SnapshotContext,
  ): Promise<SnapshotResult> {
    const { hypervisor, domains, instancesPath, logger } = this.#host;
    const { uuid } = instance;
    const destination = this.#destination(instance, target);
    const domain = await hypervisor.domain(uuid, context);
    const info = await domains.info(domain, context);
    const state = powerState(info.state, info.saved);
    if (state === 'nostate') throw wrongState(context, state);
    const disk = (await new InstanceFiles(instancesPath, uuid).readDisks(context))?.disk;
    if (!disk) {
      throw new ComputeError(
        'INSTANCE_NOT_FOUND',
        `snapshot: instance ${uuid} has no disk that was made here`,
        {
          operation: 'snapshot',
          instanceUuid: uuid,
        },
      );
    }
    const undo = new Undo();
    try {
      await this.#removeLeftovers(instance, context);
      const live = state === 'running' || state === 'paused';
      const snapshot = new Snapshot(this.#host, instance, disk, destination, format, options, context, undo);
      const result = await (live ? snapshot.live() : snapshot.cold());
      undo.commit();
      await this.#removeDirectory(uuid, { operation: 'snapshot', instanceUuid: uuid });
      return result;
    } catch (error) {
      for (const { name, error: failure } of await undo.run()) {
        logger.error('a failed snapshot could not be undone', { uuid, step: name, error: String(failure) });
      }
      throw error;
    }
  }

  /** The directory is there from before a copy begins until after it has ended, and nobody else makes one. */
  async #removeLeftovers(instance: Instance, context: CallContext): Promise<void> {
    const { uuid } = instance;
    const directory = snapshotDirectory(this.#host.instancesPath, uuid);
    if (!(await callNative((addon, id) => addon.statFile(directory, id), context))) return;
    const copy = new SnapshotCopy(
      this.#host,
      instance,
      new InstanceFiles(this.#host.instancesPath, uuid).disk(),
    );
    await copy.end();
    await copy.thawIfAgent().catch((error: unknown) => {
      this.#host.logger.error('a guest may still be frozen', { uuid, error: String(error) });
    });
    await this.#removeDirectory(uuid, context);
  }

  async #removeDirectory(uuid: string, context: CallContext): Promise<void> {
    const directory = snapshotDirectory(this.#host.instancesPath, uuid);
    await callNative((addon, id) => addon.removeTree(directory, id), context);
  }

  #destination(instance: Instance, target: SnapshotTarget): Destination {
    const { images, logger, instancesPath } = this.#host;
    const { glance, http = {} } = images;
    const client = glance && (() => (this.#glance ??= new GlanceClient(parseGlanceOptions(glance), http)));
    const directory = snapshotDirectory(instancesPath, instance.uuid);
    return destinationOf({ glance: client, http, logger }, instance, target, directory);
  }
}
