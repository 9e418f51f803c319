const contender = (image, options) => ({ peer: 'addon', image, options: { work: 'memory', ...options } });
const flatten = { below: 'plain', format: 'qcow2', compression: 'zstd' };

const contenders = {
  plain: contender('plain'),
  zlib: contender('zlib'),
  zstd: contender('zstd'),
  'sparse, 100 GiB': contender('sparse'),
  'chain to zstd': contender('chain', flatten),
};

export const scenario = {
  name: 'convert-memory',
  question: 'How far does the memory of the process grow while an image is converted?',
  unit: 'MiB',
  slow: true,
  base: 'plain',
  quick: { rounds: 2, count: 1 },
  full: { rounds: 4, count: 1 },
  contenders,
  goals: Object.keys(contenders).map((name) => ({
    text: `MiB for ${name}`,
    of: { contender: name },
    atMost: 64,
  })),
  notes: ['Peak of the resident set less what it was before; the page cache is not in it.'],
};
