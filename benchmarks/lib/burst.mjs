// Launches at once, over the number under way at a time.

/** The scenario of a burst of so many; `concurrencies` of node-compute. */
export function burst({ instances, concurrencies, peers, rounds, ...rest }) {
  const options = (concurrency) => ({ work: 'launch', count: instances, concurrency });
  const own = Object.fromEntries(
    concurrencies.map((concurrency) => [
      `node-compute, ${concurrency} at once`,
      { peer: 'node-compute', options: options(concurrency) },
    ]),
  );
  return {
    name: `burst-${instances}`,
    question: `How many instances a second start when ${instances} are asked for at once?`,
    unit: 'ms',
    chart: 'throughput',
    quick: { rounds: rounds.quick, count: instances },
    full: { rounds: rounds.full, count: instances },
    contenders: {
      ...own,
      ...(peers && {
        'Python, libvirtd, 10 at once': {
          peer: 'libvirt-python',
          libvirtd: 'stock',
          options: options(10),
        },
        // Nova's max_concurrent_builds is 10.
        'Nova, libvirtd, 10 at once': { peer: 'nova', libvirtd: 'stock', options: options(10) },
      }),
    },
    notes: ['A latency counts from the moment when all were asked for.'],
    ...rest,
  };
}
