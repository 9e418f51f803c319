import { convert } from '../lib/convert.mjs';

export const scenario = convert({
  name: 'convert-plain',
  kind: 'plain',
  question:
    'How long does it take to convert a qcow2 of 1 GiB with 256 MiB of data, not compressed, to a raw file?',
  times: 1,
});
