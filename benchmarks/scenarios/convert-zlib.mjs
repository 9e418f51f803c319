import { convert } from '../lib/convert.mjs';

export const scenario = convert({ kind: 'zlib', what: 'compressed by zlib', times: 3 });
