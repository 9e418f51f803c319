import { convert } from '../lib/convert.mjs';

export const scenario = convert({ kind: 'zstd', what: 'compressed by zstd', times: 2 });
