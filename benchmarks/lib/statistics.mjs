// What is told of a row of measurements.

export function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  if (sorted.length === 0) return Number.NaN;
  const at = (sorted.length - 1) * q;
  const low = sorted[Math.floor(at)];
  return low + (sorted[Math.ceil(at)] - low) * (at - Math.floor(at));
}

export const median = (values) => quantile(values, 0.5);

export const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

export function summary(values) {
  return {
    n: values.length,
    min: Math.min(...values),
    median: median(values),
    p95: quantile(values, 0.95),
    p99: quantile(values, 0.99),
    max: Math.max(...values),
  };
}

/** Ratio to the base, round by round: what the machine did meanwhile both had to bear. Each is one number a round. */
export function ratio(rounds, base) {
  const ratios = rounds.map((value, round) => value / base[round]);
  return { median: median(ratios), min: Math.min(...ratios), max: Math.max(...ratios) };
}
