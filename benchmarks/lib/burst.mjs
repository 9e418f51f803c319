// Launches at once, over the number under way at a time.

/** The scenario of a burst of so many; `concurrencies` of node-compute, `floors` of QEMU alone. */
export function burst({ instances, concurrencies, floors, peers, rounds, goals, ...rest }) {
  const options = (concurrency) => ({ work: 'launch', count: instances, concurrency });
  const each = (peer, numbers, more) =>
    Object.fromEntries(
      numbers.map((concurrency) => [
        `${peer}, ${concurrency} at once`,
        { peer, options: { ...options(concurrency), ...more } },
      ]),
    );
  const base = 'bare-qemu, 4 at once';
  return {
    name: `burst-${instances}`,
    question: `How many instances a second start when ${instances} are asked for at once?`,
    unit: 'ms',
    chart: 'throughput',
    base,
    quick: { rounds: rounds.quick, count: instances },
    full: { rounds: rounds.full, count: instances },
    contenders: {
      ...each('bare-qemu', floors, { running: true }),
      ...each('node-compute', concurrencies),
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
    goals: [
      ...goals,
      {
        text: `of bare QEMU's launches a second, ${instances} at once`,
        of: { contender: 'node-compute, 4 at once', value: 'perSecond' },
        over: { contender: base, value: 'perSecond' },
        atLeast: 0.8,
      },
    ],
    notes: [
      'A latency counts from the moment when all were asked for.',
      'bare-qemu: the same devices and guests that run, up to the answer to cont; the overlays are made beforehand.',
      'The guests run while others start: where a CPU is emulated, their firmware takes what the machine has.',
    ],
    ...rest,
  };
}
