import { convert } from '../lib/convert.mjs';

export const scenario = convert({
  name: 'flatten-zstd',
  kind: 'chain',
  below: 'plain',
  format: 'qcow2',
  compression: 'zstd',
  question:
    'How long does it take to make one qcow2, compressed by zstd, of an overlay and the image below it?',
  times: 2,
});
