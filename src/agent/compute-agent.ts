// ComputeAgent: a host of Nova's. Takes commands from the broker, has a ComputeNode do them, keeps Nova and Placement true.
import { Undo } from '../driver/undo.js';
import type { ComputeNode } from '../node/compute-node.js';
import { defaultLogger } from '../node/default-log.js';
import type { ResourceReporter } from '../resources/resource-reporter.js';
import type { ComputeAgentOptions } from './agent-options.js';
import { reasonOf } from './instance-record.js';
import { type AgentParts, openParts } from './open-agent.js';
import type { ReportTotals } from './report-log.js';

export interface CloseAgentOptions {
  /**
   * Milliseconds that commands under way are given; they are then aborted, and done again at the next start. A broker that does
   * not answer costs a few seconds beyond. Default 30000.
   */
  readonly graceMs?: number;
}

const GRACE_MS = 30_000;

/**
 * One host of Nova's, from open to close. Commands are journaled before they are acknowledged: those that were taken and
 * not finished when a process died are done, or ended, by the next. While the broker, the conductor, Placement or Glance are
 * away it waits for them.
 */
export class ComputeAgent implements AsyncDisposable {
  readonly node: ComputeNode;
  /** Its name in Nova. */
  readonly host: string;
  readonly #parts: AgentParts;
  #closing: Promise<void> | undefined;

  private constructor(parts: AgentParts) {
    this.node = parts.host.node;
    this.host = parts.host.name;
    this.#parts = parts;
  }

  /**
   * Opens the node, registers the host, and serves. Waits for the broker and a conductor until `signal` fires. Rejects with
   * what {@link ComputeNode.open} says, and `INVALID_ARGUMENT`.
   */
  static async open(
    options: ComputeAgentOptions,
    { signal }: { readonly signal?: AbortSignal } = {},
  ): Promise<ComputeAgent> {
    const undo = new Undo();
    const log = options.logger ?? defaultLogger();
    try {
      const parts = await openParts(options, log, undo, signal);
      undo.commit();
      return new ComputeAgent(parts);
    } catch (error) {
      for (const failed of await undo.run()) {
        log.error(`closing after a failed start: ${failed.name}: ${reasonOf(failed.error)}`);
      }
      throw error;
    }
  }

  /** When the conductor last heard of the host; milliseconds since 1970. */
  get lastReportMs(): number {
    return this.#parts.service.lastSavedMs;
  }

  /** Messages, by what was wrong with them, since it was opened: those of which the log has a few lines and the sum. */
  get troubles(): ReportTotals {
    return this.#parts.reports.totals;
  }

  get reporter(): ResourceReporter {
    return this.#parts.reporter;
  }

  /** Takes no more commands, lets those under way end, and closes the node. Guests go on running. Idempotent. */
  async close({ graceMs = GRACE_MS }: CloseAgentOptions = {}): Promise<void> {
    this.#closing ??= this.#close(graceMs);
    await this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(graceMs: number): Promise<void> {
    const { server, log, sync, healing, service, host, client, broker, stop, placement } = this.#parts;
    const grace = setTimeout(() => stop.abort(), graceMs);
    try {
      await server.close();
      clearTimeout(grace);
      stop.abort();
      await sync.close();
      await healing?.close();
      await service.close();
    } finally {
      clearTimeout(grace);
      await host.node.close();
      await client.close();
      await broker.close();
      await host.networks?.close();
      await host.volumes?.close();
      await placement.close();
      await host.images.close();
      log.flush();
    }
  }
}
