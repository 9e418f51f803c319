// node-compute's addon alone, below the driver: what the crossing of threads costs a call; see ../README.md.
import { callNative } from '../../dist/native.js';
import { measureCalls, TEST_DOMAIN_UUID } from '../lib/client.mjs';

const { uri, count, warmup } = JSON.parse(process.argv[2]);
const options = { operation: 'call' };

const connection = await callNative(
  (addon, id) =>
    addon.openConnection(
      uri,
      { keepAliveInterval: 0, keepAliveCount: 0, reapOrphans: false, logFile: '' },
      id,
    ),
  options,
);
const domain = await callNative((_addon, id) => connection.lookup(TEST_DOMAIN_UUID, id), options);
const answer = await measureCalls(() => callNative((_addon, id) => domain.info(id), options), {
  count,
  warmup,
});
await connection.close(0);
console.log(JSON.stringify(answer));
