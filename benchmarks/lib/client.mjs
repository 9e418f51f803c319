// The work of a peer that is no more than a libvirt client: overlays by qemu-img, define, start, destroy, undefine.
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { meter } from './peer.mjs';
import { exit, processOf } from './process.mjs';
import { repeat } from './repeat.mjs';

const execute = promisify(execFile);

/** One of the domains that libvirt's test driver has. */
export const TEST_DOMAIN = 'test';
export const TEST_DOMAIN_UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';

/**
 * Does what the argument of this process asks for and prints the answer. `client` has the functions `define(document,
 * uuid)` and `lookup(name)`, which give what the others take, `start`, `destroy`, `undefine`, `info`; `states()`, which
 * gives those of all domains; `usage()` and `usageAll()`, which ask for the figures of all and give how many there are; and `close()`, where it has these.
 */
export async function runClient(client, options) {
  const { work, directory, base, xml, count = 1, warmup = 0, concurrency = 1 } = options;
  const living = new Set();
  try {
    const answer = await {
      launch,
      terminate,
      reboot,
      idle,
      call,
      usage: () => usage('usage'),
      usageAll: () => usage('usageAll'),
    }[work]();
    console.log(JSON.stringify(answer));
  } finally {
    await Promise.all([...living].map(end));
    await client.close?.();
  }

  async function start() {
    const uuid = randomUUID();
    const one = { uuid, disk: join(directory, `${uuid}.qcow2`), log: join(directory, `${uuid}.log`) };
    living.add(one);
    await execute('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', base, '-F', 'raw', one.disk, '1G']);
    const document = readFileSync(xml, 'utf8')
      .replaceAll('@NAME@', `bench-${uuid}`)
      .replaceAll('@UUID@', uuid)
      .replaceAll('@DISK@', one.disk)
      .replaceAll('@LOG@', one.log);
    one.domain = await client.define(document, uuid);
    await client.start(one.domain);
    one.started = true;
    return one;
  }

  async function end(one) {
    if (one.started) await client.destroy(one.domain);
    if (one.domain) await client.undefine(one.domain);
    for (const path of [one.disk, one.log]) rmSync(path, { force: true });
    living.delete(one);
  }

  async function launch() {
    for (let i = 0; i < warmup; i += 1) await end(await start());
    const samples = [];
    const usage = meter();
    const begin = performance.now();
    if (concurrency > 1) {
      let asked = 0;
      const worker = async () => {
        for (; asked < count; ) {
          asked += 1;
          await start();
          samples.push(performance.now() - begin);
        }
      };
      await Promise.all(Array.from({ length: concurrency }, worker));
      return { samples: { launch: samples }, ...usage() };
    }
    let used;
    for (let i = 0; i < count; i += 1) {
      const one = await timed(samples, start);
      used = usage();
      await end(one);
    }
    const seconds = samples.reduce((sum, ms) => sum + ms, 0) / 1000;
    return { samples: { launch: samples }, ...used, seconds };
  }

  async function terminate() {
    const gone = [];
    const ended = [];
    let usage = meter();
    for (let i = 0; i < warmup + count; i += 1) {
      if (i === warmup) usage = meter();
      const one = await start();
      const begin = performance.now();
      const watch = exit(processOf(one.uuid)).then(() => performance.now() - begin);
      await end(one);
      const ms = performance.now() - begin;
      const goneMs = await watch;
      if (i < warmup) continue;
      ended.push(ms);
      gone.push(goneMs);
    }
    return { samples: { gone, terminate: ended }, ...usage() };
  }

  async function reboot() {
    const { domain } = await start();
    const samples = [];
    let usage = meter();
    for (let i = 0; i < warmup + count; i += 1) {
      if (i === warmup) usage = meter();
      await timed(i < warmup ? [] : samples, async () => {
        await client.destroy(domain);
        await client.start(domain);
      });
    }
    return { samples: { reboot: samples }, ...usage() };
  }

  async function idle() {
    const usage = meter();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    return { samples: { idle: [process.memoryUsage.rss() / 1024 ** 2] }, ...usage() };
  }

  async function usage(what) {
    const operation = async () => {
      const found = await client[what]();
      if (found < options.domains) throw new Error(`${found} domains, not ${options.domains}`);
    };
    return await repeat('usage', operation, { count, warmup });
  }

  async function call() {
    const domain = await client.lookup(TEST_DOMAIN);
    return await measureCalls({ info: () => client.info(domain), states: client.states }, { count, warmup });
  }
}

/** Milliseconds that `operation` takes, added to `samples`; gives its result. */
async function timed(samples, operation) {
  const begin = performance.now();
  const result = await operation();
  samples.push(performance.now() - begin);
  return result;
}

/** Calls at once in `together`: enough to keep every lane busy, few enough to queue. */
const BATCH = 20;

/** Calls for each time that all domains are asked for. */
const CALLS_PER_BULK = 200;

/**
 * Microseconds per call of `info`: one after the other (`call`), and as a share of twenty asked for at once (`together`);
 * and per domain of all that `states` gives, where it is there (`bulk`).
 */
export async function measureCalls({ info, states }, { count, warmup }) {
  for (let i = 0; i < warmup; i += 1) await info();
  const domains = (await states?.())?.length;
  const one = [];
  const together = [];
  const bulk = [];
  const usage = meter();
  for (let i = 0; i < count; i += 1) await timed(one, info);
  for (let i = 0; i < count; i += BATCH) {
    await timed(together, () => Promise.all(Array.from({ length: BATCH }, info)));
  }
  for (let i = 0; states && i < count; i += CALLS_PER_BULK) await timed(bulk, states);
  const answer = usage();
  const microseconds = (samples, calls) => samples.map((ms) => (ms * 1000) / calls);
  return {
    samples: {
      call: microseconds(one, 1),
      together: microseconds(together, BATCH),
      ...(states && { bulk: microseconds(bulk, domains) }),
    },
    ...answer,
  };
}
