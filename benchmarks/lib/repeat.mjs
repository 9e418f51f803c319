// One operation over and over, and how long it took each time.
import { meter } from './peer.mjs';

/** The answer of a peer that does `operation` only; `undo`, after each, is not counted. */
export async function repeat(measure, operation, { count, warmup, undo = () => undefined }) {
  const samples = [];
  let usage = meter();
  for (let i = 0; i < warmup + count; i += 1) {
    if (i === warmup) usage = meter();
    const begin = performance.now();
    await operation();
    const ms = performance.now() - begin;
    await undo();
    if (i >= warmup) samples.push(ms);
  }
  return {
    samples: { [measure]: samples },
    ...usage(),
    seconds: samples.reduce((sum, ms) => sum + ms, 0) / 1000,
  };
}
