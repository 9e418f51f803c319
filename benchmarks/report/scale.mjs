// From values to places on an axis, with ticks at round numbers.

/** `at(value)` is the place between `low` and `high`, of values between `from` and `to`. */
export function linear([from, to], [low, high], wanted = 6) {
  return {
    at: (value) => low + ((value - from) / (to - from)) * (high - low),
    ticks: multiples(roundStep((to - from) / wanted), from, to),
  };
}

export function logarithmic([from, to], [low, high], base = 10) {
  const { at } = linear([Math.log(from), Math.log(to)], [low, high]);
  const [first, last] = [from, to].map((value) => Math.log(value) / Math.log(base));
  const powers = multiples(1, Math.floor(first), Math.ceil(last)).map((exponent) => base ** exponent);
  const within = (ticks) => ticks.filter((tick) => tick >= from && tick <= to);
  const few = base === 10 && within(powers).length < 3;
  return {
    at: (value) => at(Math.log(value)),
    ticks: within(few ? powers.flatMap((power) => [power, 2 * power, 5 * power]) : powers),
  };
}

/** 1, 2, 5 or 10 times a power of ten, not below `value`. */
function roundStep(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 2, 5].find((times) => times * power >= value) ?? 10);
}

function multiples(step, from, to) {
  const first = Math.ceil(from / step - 1e-9);
  const count = Math.floor(to / step + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, index) => Number(((first + index) * step).toPrecision(12)));
}
