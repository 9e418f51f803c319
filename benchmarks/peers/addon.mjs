// node-compute's addon alone, below the driver: what a crossing of threads and the work behind it cost; see ../README.md.
import { rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cachedImages } from '../lib/cached-images.mjs';
import { measureCalls, TEST_DOMAIN_UUID } from '../lib/client.mjs';
import { meter, OWN_LIBRARY } from '../lib/peer.mjs';
import { peakMib, residentMib } from '../lib/process.mjs';
import { repeat } from '../lib/repeat.mjs';

const {
  work,
  directory,
  uri,
  image,
  base,
  below,
  format = 'raw',
  compression = 'none',
  sync = false,
  glance,
  library = OWN_LIBRARY,
  ...amount
} = JSON.parse(process.argv[2]);
const { DOMAIN_NAMESPACE } = await import(join(library, 'libvirt/xml/domain.js'));
const { callNative } = await import(join(library, 'native.js'));
const GIB = 1024 ** 3;
const native = (operation) => callNative(operation, { operation: work });

console.log(
  JSON.stringify(
    await {
      call,
      overlay,
      inspect,
      info,
      convert,
      memory,
      fetch,
      hit,
      pass,
      plug,
      fleet,
      usage: () => usage(['cpu', 'memory']),
      usageAll: () => usage(['cpu', 'memory', 'vcpu', 'network', 'disk']),
    }[work](),
  ),
);

async function call() {
  // The first two are for earlier builds, which check.mjs compares with.
  const options = { keepAliveInterval: 0, keepAliveCount: 0, reapOrphans: false, logFile: '' };
  const connection = await native((addon, id) => addon.openConnection(uri, options, id));
  const domain = await native((_addon, id) => connection.lookup(TEST_DOMAIN_UUID, id));
  const answer = await measureCalls(
    {
      info: () => native((_addon, id) => domain.info(id)),
      states: () => native((_addon, id) => connection.list(0, DOMAIN_NAMESPACE, id)),
    },
    amount,
  );
  await connection.close(0);
  return answer;
}

/** The driver on the libvirt behind `uri`, and how to let go of it. */
async function driver() {
  const { LibvirtDriver } = await import(join(library, 'libvirt/libvirt-driver.js'));
  const root = /^qemu:\/\/\/embed\?root=(.*)$/.exec(uri)?.[1];
  const opened = new LibvirtDriver({ instancesPath: join(directory, 'i'), ...(root ? { root } : { uri }) });
  await opened.initHost();
  return opened;
}

async function fleet() {
  const { startFleet } = await import('../../scripts/fleet.mjs');
  const opened = await driver();
  const options = { keepAliveInterval: 0, keepAliveCount: 0, reapOrphans: false, logFile: '' };
  const connection = await native((addon, id) => addon.openConnection(uri, options, id));
  await startFleet(connection, directory, amount.count, DOMAIN_NAMESPACE);
  await connection.close(0);
  await opened.close();
  return { samples: {} };
}

/** Samples of all domains; and, one each second, what they delay the event loop. */
async function usage(groups) {
  const { monitorEventLoopDelay } = await import('node:perf_hooks');
  const opened = await driver();
  const operation = async () => {
    const found = (await opened.getInstancesUsage({ groups })).length;
    if (found < amount.domains) throw new Error(`${found} domains, not ${amount.domains}`);
  };
  const answer = await repeat('usage', operation, amount);
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  for (let second = 0; second < 5; second += 1) {
    await operation();
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  delay.disable();
  await opened.close();
  return { ...answer, values: { eventLoopDelayP99Ms: delay.percentile(99) / 1e6 } };
}

async function overlay() {
  const disk = join(directory, 'disk.qcow2');
  const options = {
    backing: { path: base, format: 'raw' },
    virtualSizeBytes: GIB,
    clusterSizeBytes: 65536,
    compression: 'zlib',
  };
  const undo = () => rmSync(disk, { force: true });
  try {
    return await repeat('overlay', () => native((addon, id) => addon.createQcow2(disk, options, id)), {
      ...amount,
      undo,
    });
  } finally {
    undo();
  }
}

async function pass() {
  const { ImageCache } = await import(join(library, 'image/image-cache.js'));
  const { instances } = cachedImages(directory, 50);
  const cache = new ImageCache({ instancesPath: instances });
  const operation = async () => {
    const { bases, inUse } = await cache.prune();
    if (bases !== 50 || inUse !== 50) throw new Error(`${inUse} of ${bases} bases are in use, not 50 of 50`);
  };
  try {
    return await repeat('pass', operation, amount);
  } finally {
    await cache.close();
    rmSync(instances, { recursive: true });
  }
}

function inspect() {
  return repeat('inspect', () => native((addon, id) => addon.inspectImage(image, 'qcow2', GIB, id)), amount);
}

function info() {
  return repeat('info', () => native((addon, id) => addon.imageInfo(image, 'qcow2', id)), amount);
}

function convert() {
  return converting((operation, undo) => repeat('convert', operation, { ...amount, undo }));
}

/** How far the resident set grows above what it was, in MiB, in the first conversion of a process. */
function memory() {
  return converting(async (operation) => {
    const usage = meter();
    const before = residentMib('self');
    writeFileSync('/proc/self/clear_refs', '5');
    await operation();
    return { samples: { memory: [peakMib('self') - before] }, ...usage() };
  });
}

/** Of an image that stands there. */
async function hit() {
  const { ImageCache } = await import(join(library, 'image/image-cache.js'));
  const instancesPath = join(directory, 'instances');
  const cache = new ImageCache({ instancesPath });
  const request = { id: 'bench', diskFormat: 'qcow2', source: { type: 'file', path: image }, properties: {} };
  const operation = () => cache.ensureBase(request, { flavorRootBytes: GIB });
  try {
    await operation();
    return await repeat('hit', operation, amount);
  } finally {
    await cache.close();
    rmSync(instancesPath, { recursive: true, force: true });
  }
}

/** Into an empty cache. */
async function fetch() {
  const { ImageCache } = await import(join(library, 'image/image-cache.js'));
  const instancesPath = join(directory, 'instances');
  const request = { id: glance.imageId, diskFormat: 'qcow2', source: { type: 'glance' }, properties: {} };
  const undo = () => rmSync(instancesPath, { recursive: true, force: true });
  const operation = async () => {
    const cache = new ImageCache({ instancesPath, glance: { endpoints: [glance.endpoint] } });
    try {
      await cache.ensureBase(request, { flavorRootBytes: 0 });
    } finally {
      await cache.close();
    }
  };
  try {
    return await repeat('fetch', operation, { ...amount, undo });
  } finally {
    undo();
  }
}

async function plug() {
  const { plugging } = await import('../lib/plugging.mjs');
  const { hostLinks } = await import(join(library, 'network/links.js'));
  return await plugging((bridge, names) => hostLinks.ensureTaps({ names, bridge }), amount);
}

/** `below` is the kind of the image under an overlay. */
async function converting(measure) {
  const target = join(directory, 'converted');
  const layers = [image, ...(below ? [join(dirname(image), `${below}.qcow2`)] : [])];
  const options = {
    format,
    compression,
    clusterSizeBytes: 65536,
    maxVirtualBytes: 100 * GIB,
    threads: 0,
    sync,
  };
  const undo = () => rmSync(target, { force: true });
  const disk = layers.map((path) => ({ path, format: 'qcow2' }));
  try {
    return await measure(() => native((addon, id) => addon.convertImage(disk, target, options, id)), undo);
  } finally {
    undo();
  }
}
