// Whether a build is slower than another, or the machine was only restless.
import { median, quantile } from './statistics.mjs';

/** A difference below this is none, however quiet the machine. */
const LEAST = 0.05;
/** A change that chance brings about less often than this is one. */
const SIGNIFICANCE = 0.05;

/**
 * Medians of a measure, round by round: of the base, of the base once more, and of the build in question. What the base
 * differs from itself by is noise; a change is beyond that, and in one direction in more rounds than chance would have it.
 */
export function judge({ base, again, build }) {
  const ratios = build.map((value, round) => value / base[round]);
  const noise = again.map((value, round) => Math.abs(value / base[round] - 1));
  const band = Math.max(LEAST, quantile(noise, 0.95));
  const ratio = median(ratios);
  const slower = ratios.filter((one) => one > 1).length;
  const verdict =
    ratio > 1 + band && chance(slower, ratios.length) < SIGNIFICANCE
      ? 'regression'
      : ratio < 1 / (1 + band) && chance(ratios.length - slower, ratios.length) < SIGNIFICANCE
        ? 'improvement'
        : 'same';
  return { ratio, band, verdict };
}

/** Sign test: the chance of so many heads or more in that many throws of a coin. */
function chance(heads, throws) {
  let sum = 0;
  let ways = 1;
  for (let k = throws; k >= heads; k -= 1) {
    sum += ways;
    ways = (ways * k) / (throws - k + 1);
  }
  return sum / 2 ** throws;
}
