const parts = {
  curl: { peer: 'curl', glance: true, options: { work: 'download' } },
  'node-compute, conversion alone': {
    peer: 'addon',
    image: 'cloud',
    options: { work: 'convert', sync: true },
  },
};

export const scenario = {
  name: 'cold-image',
  question: 'How long does it take to get a compressed image of 335 MB from Glance into the cache?',
  slow: true,
  unit: 'ms',
  base: 'curl',
  quick: { rounds: 3, count: 2 },
  full: { rounds: 6, count: 3 },
  contenders: {
    ...parts,
    "Nova's steps": { peer: 'curl', glance: true, options: { work: 'fetch' } },
    'node-compute': { peer: 'addon', glance: true, options: { work: 'fetch' } },
  },
  goals: Object.keys(parts).map((contender) => ({
    text: `times ${contender}, for the larger of the two`,
    of: { contender: 'node-compute' },
    over: { contender },
    atMost: 1.25,
  })),
  notes: [
    'A real glance-api on the same machine sends the image; its CPU time is not that of the contenders.',
    "Nova's steps: curl, sync, sha512sum, qemu-img convert -t none, sync, each after the one before.",
    'node-compute: declared sha512 and size verified, content inspected, converted to raw, fsync, published.',
    'curl alone is neither verified nor on the disk; the conversion alone is on the disk.',
    'On two cores it is CPU time that counts: the conversion alone keeps both busy, and receiving and hashing come on top.',
  ],
};
