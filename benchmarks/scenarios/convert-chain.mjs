import { convert } from '../lib/convert.mjs';

export const scenario = convert({
  name: 'convert-chain',
  kind: 'chain',
  below: 'plain',
  question:
    'How long does it take to convert an overlay of 3 GiB on a qcow2, 320 MiB of data in both, to a raw file?',
  times: 1,
});
