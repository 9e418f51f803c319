// A process with an image cache of its own. Each line on its standard input is a round: so many launches of an image.
// On its standard output: {"activity"} as fetches get on, {"disk"} for each overlay, {"done", "metrics"} at the end.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ImageCache } from '../../dist/image/image-cache.js';

const instancesPath = process.argv[2];
const cache = new ImageCache({ instancesPath, reservedBytes: 0 });
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

async function launch(image, uuid) {
  let last = '';
  const base = await cache.ensureBase(image, {
    flavorRootBytes: 0,
    onProgress: ({ activity }) => {
      if (activity !== last) say({ activity });
      last = activity;
    },
  });
  const directory = join(instancesPath, uuid);
  mkdirSync(directory, { mode: 0o700 });
  const disk = await cache.createInstanceDisk(directory, base, 0, { instanceUuid: uuid });
  say({ disk: disk.path });
}

say({ ready: true });
for await (const line of createInterface({ input: process.stdin })) {
  const { image, uuids } = JSON.parse(line);
  const before = cache.metrics();
  const outcomes = await Promise.allSettled(uuids.map((uuid) => launch(image, uuid)));
  const failures = outcomes.filter(({ status }) => status === 'rejected').map(({ reason }) => String(reason));
  const { misses, joins, hits } = cache.metrics();
  say({
    done: true,
    failures,
    misses: misses - before.misses,
    joins: joins - before.joins,
    hits: hits - before.hits,
  });
}
