// A sink that writes each report as one line of JSON: the first whole, then deltas. For files, pipes, log shippers.
import type { Writable } from 'node:stream';
import { reportJson } from '../report-json.js';
import type { ReportSink } from '../sink.js';

export interface JsonLinesOptions {
  /** Every report whole. Default false. */
  readonly whole?: boolean;
  readonly name?: string;
}

/** The stream is the caller's: each line waits until it is taken, and the stream is not ended. */
export function jsonLinesSink(
  stream: Writable,
  { whole = false, name = 'json-lines' }: JsonLinesOptions = {},
): ReportSink {
  // The failure of a write is told by its callback; unheard, the event would end the process.
  const heard = (): void => undefined;
  return {
    name,
    async open() {
      stream.on('error', heard);
    },
    async deliver({ report, delta }) {
      // Why it broke; a write would only say that it is broken.
      if (stream.errored) throw stream.errored;
      const line = `${reportJson(whole ? report : (delta ?? report))}\n`;
      await new Promise<void>((resolve, reject) => {
        stream.write(line, (error) => (error ? reject(error) : resolve()));
      });
    },
    async close() {
      stream.off('error', heard);
    },
  };
}
