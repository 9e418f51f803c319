// What a server reports of messages, counted and in the log.
import type { Logger } from '../node/types.js';
import { reasonOf } from './instance-record.js';
import type { RpcReport } from './rpc-server.js';

export type ReportTotals = Readonly<Record<RpcReport['kind'], number>>;

export class ReportLog {
  readonly #log: Logger;
  readonly #totals = {
    unreadable: 0,
    duplicate: 0,
    refused: 0,
    failed: 0,
    'set-aside': 0,
    journal: 0,
    'answer-lost': 0,
  } satisfies ReportTotals;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Since it was made. */
  get totals(): ReportTotals {
    return this.#totals;
  }

  /** Never throws. */
  add(report: RpcReport): void {
    const { kind } = report;
    this.#totals[kind] += 1;
    const reason = 'error' in report ? `: ${reasonOf(report.error)}` : '';
    const what = 'method' in report ? `${report.method} ${kind}` : `a message: ${kind}`;
    const fields = { kind, ...('uniqueId' in report && { uniqueId: report.uniqueId }) };
    this.#log[kind === 'duplicate' ? 'debug' : 'warn'](`${what}${reason}`, fields);
  }
}
