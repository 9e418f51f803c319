// A qcow2 image to a raw file, over the kinds of clusters that it may have.

/** The scenario of a kind of image; `times` is how much longer the best of qemu-img's flags is to take. */
export function convert({ kind, what, times }) {
  const qemuImg = (...flags) => ({ peer: 'qemu-img', image: kind, options: { work: 'convert', flags } });
  const best = 'qemu-img -m 16 -W';
  return {
    name: `convert-${kind}`,
    question: `How long does it take to convert a qcow2 of 1 GiB with 256 MiB of data, ${what}, to a raw file?`,
    unit: 'ms',
    slow: kind !== 'zlib',
    base: best,
    quick: { rounds: 3, count: 3 },
    full: { rounds: 6, count: 5 },
    contenders: {
      [best]: qemuImg('-m', '16', '-W'),
      'qemu-img': qemuImg(),
      'qemu-img -t none -m 16 -W': qemuImg('-t', 'none', '-m', '16', '-W'),
      'node-compute': { peer: 'addon', image: kind, options: { work: 'convert' } },
    },
    goals: [
      {
        text: `times as long by ${best}, ${what}`,
        of: { contender: best },
        over: { contender: 'node-compute' },
        atLeast: times,
      },
    ],
    notes: ['Without fsync, into the page cache. node-compute validates the image first, qemu-img does not.'],
  };
}
