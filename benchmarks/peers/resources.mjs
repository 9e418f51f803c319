// node-compute's accounting alone, in memory: claims, without a host and without a hypervisor; see ../README.md.
import { join } from 'node:path';
import { meter, OWN_LIBRARY } from '../lib/peer.mjs';

const { work, count = 1, warmup = 0, library = OWN_LIBRARY } = JSON.parse(process.argv[2]);
const { ResourceTracker } = await import(join(library, 'index.js'));

console.log(JSON.stringify({ claims }[work]()));

/** Each sample a thousand claims and releases beside two hundred that stand, in microseconds a claim. */
function claims() {
  const tracker = new ResourceTracker({ totals: { vcpus: 4096, memoryMb: 2 ** 24, diskGb: 2 ** 20 } });
  const flavor = { vcpus: 2, memoryMb: 2048, rootGb: 20, ephemeralGb: 0, swapMb: 512, extraSpecs: {} };
  for (let i = 0; i < 200; i += 1) tracker.claim(`standing-${i}`, flavor);
  const uuids = Array.from({ length: 1000 }, (_, i) => `instance-${i}`);
  const samples = [];
  let usage = meter();
  // The compiler of JavaScript takes some thousand calls to see what is worth its while.
  const before = warmup * 20;
  for (let i = 0; i < before + count; i += 1) {
    if (i === before) usage = meter();
    const begin = performance.now();
    for (const uuid of uuids) tracker.claim(uuid, flavor);
    for (const uuid of uuids) tracker.release(uuid);
    if (i >= before) samples.push(((performance.now() - begin) * 1000) / uuids.length);
  }
  const used = usage();
  return {
    samples: { claim: samples },
    values: { claimsPerSecond: (count * uuids.length) / used.seconds },
    ...used,
  };
}
