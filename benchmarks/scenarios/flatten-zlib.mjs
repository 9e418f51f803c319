import { convert } from '../lib/convert.mjs';

export const scenario = convert({
  name: 'flatten-zlib',
  kind: 'chain',
  below: 'plain',
  format: 'qcow2',
  compression: 'zlib',
  question:
    'How long does it take to make one qcow2, compressed by zlib, of an overlay and the image below it?',
  times: 5,
});
