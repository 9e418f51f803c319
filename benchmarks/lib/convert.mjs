// A qcow2 image, or an overlay on one, to a file of its own: over the kinds of clusters that it may have.

/**
 * The scenario of a kind of image, to `raw` or to a `qcow2` of a `compression`; `times` is how much longer the best of
 * qemu-img's flags is to take.
 */
export function convert({ name, kind, below, question, format = 'raw', compression = 'none', times }) {
  const words = compression === 'none' ? [] : ['-c', '-o', `compression_type=${compression}`];
  const qemuImg = (...flags) => ({
    peer: 'qemu-img',
    image: kind,
    options: { work: 'convert', format, flags: [...words, ...flags] },
  });
  const best = 'qemu-img -m 16 -W';
  const compressed = kind === 'zlib' || kind === 'zstd';
  return {
    name,
    question,
    unit: 'ms',
    slow: kind !== 'zlib',
    base: best,
    quick: { rounds: 3, count: 3 },
    full: { rounds: 6, count: 5 },
    contenders: {
      [best]: qemuImg('-m', '16', '-W'),
      'qemu-img': qemuImg(),
      ...(format === 'raw' && {
        'qemu-img -t none -m 16 -W': qemuImg('-t', 'none', '-m', '16', '-W'),
        'cp of the raw file': { peer: 'qemu-img', image: kind, options: { work: 'copy' } },
        ...(compressed && { 'all cores decompress, nothing written': { peer: 'decompress', image: kind } }),
      }),
      'node-compute': {
        peer: 'addon',
        image: kind,
        options: { work: 'convert', below, format, compression },
      },
    },
    goals: [
      {
        text: `times as long by ${best}`,
        of: { contender: best },
        over: { contender: 'node-compute' },
        atLeast: times,
      },
    ],
    notes: [
      'Without fsync, into the page cache. node-compute validates the image first, qemu-img does not.',
      "The data is this host's own programs and libraries.",
    ],
  };
}
