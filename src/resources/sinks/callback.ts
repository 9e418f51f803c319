// A sink that is a function of the caller's.
import type { ReportSink, ReportUpdate } from '../sink.js';

/** What it throws or rejects with counts as a failure: it is called again with the whole report. */
export function callbackSink(
  take: (update: ReportUpdate, signal: AbortSignal) => Promise<void> | void,
  name = 'callback',
): ReportSink {
  return { name, deliver: take };
}
