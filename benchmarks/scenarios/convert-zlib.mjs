import { convert } from '../lib/convert.mjs';

export const scenario = convert({
  name: 'convert-zlib',
  kind: 'zlib',
  question:
    'How long does it take to convert a qcow2 of 1 GiB with 256 MiB of data, compressed by zlib, to a raw file?',
  times: 3,
});
