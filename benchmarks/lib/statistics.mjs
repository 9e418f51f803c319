// What is told of a row of measurements.

export function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  if (sorted.length === 0) return Number.NaN;
  const at = (sorted.length - 1) * q;
  const low = sorted[Math.floor(at)];
  return low + (sorted[Math.ceil(at)] - low) * (at - Math.floor(at));
}

export function summary(values) {
  return {
    n: values.length,
    min: Math.min(...values),
    median: quantile(values, 0.5),
    p95: quantile(values, 0.95),
    max: Math.max(...values),
  };
}

/** Ratio to the base, round by round: what the machine did meanwhile both had to bear. */
export function ratio(rounds, base) {
  const ratios = rounds.map((values, round) => quantile(values, 0.5) / quantile(base[round], 0.5));
  return { median: quantile(ratios, 0.5), min: Math.min(...ratios), max: Math.max(...ratios) };
}
