// A sink that writes each report as one line of JSON: the first whole, then deltas. For files, pipes, log shippers.
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { reportJson } from '../report-json.js';
import type { ReportSink } from '../sink.js';

export interface JsonLinesOptions {
  /** Every report whole. Default false. */
  readonly whole?: boolean;
  readonly name?: string;
}

/** The stream is the caller's: it is waited for while it is full, and not ended. */
export function jsonLinesSink(
  stream: Writable,
  { whole = false, name = 'json-lines' }: JsonLinesOptions = {},
): ReportSink {
  return {
    name,
    async deliver({ report, delta }, signal) {
      if (stream.errored) throw stream.errored;
      if (stream.writableNeedDrain) await once(stream, 'drain', { signal });
      stream.write(`${reportJson(whole ? report : (delta ?? report))}\n`);
    },
  };
}
