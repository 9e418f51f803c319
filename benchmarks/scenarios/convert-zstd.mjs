import { convert } from '../lib/convert.mjs';

export const scenario = convert({
  name: 'convert-zstd',
  kind: 'zstd',
  question:
    'How long does it take to convert a qcow2 of 1 GiB with 256 MiB of data, compressed by zstd, to a raw file?',
  times: 2,
});
