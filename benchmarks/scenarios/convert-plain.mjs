import { convert } from '../lib/convert.mjs';

export const scenario = convert({ kind: 'plain', what: 'not compressed', times: 1 });
