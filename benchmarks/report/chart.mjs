// Which charts a result has.
import { bars, waterfall } from './bars.mjs';
import { hasDistribution, latency } from './latency.mjs';
import { throughput } from './throughput.mjs';

/** Each with the name of its file, without the end, and its SVG; the one that answers the scenario's question first. */
export function charts(result) {
  const main = { throughput, waterfall }[result.chart] ?? bars;
  // What a waterfall was cut from is slower than usual: its times as such are no result.
  const distributed = result.chart !== 'waterfall' && hasDistribution(result);
  return [
    { name: result.scenario, svg: main(result) },
    ...(distributed ? [{ name: `${result.scenario}-latency`, svg: latency(result) }] : []),
  ];
}
