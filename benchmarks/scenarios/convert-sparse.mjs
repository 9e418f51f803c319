import { convert } from '../lib/convert.mjs';

export const scenario = convert({
  name: 'convert-sparse',
  kind: 'sparse',
  question: 'How long does it take to convert a qcow2 of 100 GiB with 256 MiB of data to a raw file?',
  times: 1.5,
});
