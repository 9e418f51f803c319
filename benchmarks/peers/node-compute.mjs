// node-compute itself: ComputeNode on the embedded driver, or on a libvirtd where `uri` is given. Beyond the contract it
// takes `security` (driver options) and `nic`, and `debugLog`, the log of a libvirtd.
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { booted, fillDisk, makeVolume } from '../lib/guest.mjs';
import { LOG_FILTERS, startsOf } from '../lib/libvirt-log.mjs';
import { meter, OWN_LIBRARY } from '../lib/peer.mjs';
import { exit, processOf, proportionalMib, residentMib } from '../lib/process.mjs';
import { repeat } from '../lib/repeat.mjs';

const options = JSON.parse(process.argv[2]);
const { ComputeNode } = await import(join(options.library ?? OWN_LIBRARY, 'index.js'));
const {
  work,
  directory,
  uri,
  libvirtd,
  image,
  cold,
  count = 1,
  warmup = 0,
  concurrency = 1,
  security,
  nic,
  bridge,
} = options;

const root = join(directory, 'r');
const debugLog = options.debugLog ?? join(directory, 'debug.log');
if (work === 'waterfall' && !uri) {
  process.env.LIBVIRT_LOG_FILTERS = LOG_FILTERS;
  process.env.LIBVIRT_LOG_OUTPUTS = `1:file:${debugLog}`;
}
const instancesPath = join(directory, 'i');
const node = await ComputeNode.open({
  instancesPath,
  maxConcurrentLaunches: concurrency,
  // Far more instances than such a host should have: it is the launch that is looked at, not the guests.
  allocationRatios: { cpu: 1000, memory: 100, disk: 1000 },
  driverOptions: uri ? { uri } : { root, ...(security && { security }) },
});
const request = (uuid) => ({
  name: 'bench',
  ...(uuid && { uuid }),
  flavor: { vcpus: 1, memoryMb: 128, rootGb: 1 },
  image: { id: cold ? randomUUID() : 'bench', diskFormat: 'qcow2', source: { type: 'file', path: image } },
  networks: nic ? [{ bridge }] : [],
});
const began = new Set();

try {
  const answer = await {
    document: writeDocument,
    launch,
    waterfall,
    terminate,
    reboot,
    save,
    attach,
    snapshot,
    resize,
    idle,
    memory,
    events,
    reports,
    report,
  }[work]();
  console.log(JSON.stringify(answer));
} finally {
  await Promise.all([...began].map(end));
  await node.close();
}

async function start() {
  const begin = performance.now();
  const result = await node.launch(request());
  const ms = performance.now() - begin;
  began.add(result.instance.uuid);
  return { ms, uuid: result.instance.uuid, name: result.instance.name, steps: result.steps };
}

async function end(uuid) {
  await node.terminate(uuid);
  began.delete(uuid);
  if (!cold) return;
  const bases = join(instancesPath, '_base');
  for (const name of readdirSync(bases)) if (name !== '.tmp') rmSync(join(bases, name), { force: true });
}

/** Many under way at once. Instances of a burst are ended when all run; one at a time, each after its launch. */
async function launch() {
  for (let i = 0; i < warmup; i += 1) await end((await start()).uuid);
  const delay = monitorEventLoopDelay({ resolution: 1 });
  const samples = [];
  const steps = {};
  const usage = meter();
  delay.enable();
  let seconds = 0;
  let used;
  if (concurrency > 1) {
    const all = await Promise.allSettled(Array.from({ length: count }, () => start()));
    used = usage();
    seconds = used.seconds;
    const failed = all.filter(({ status }) => status === 'rejected');
    if (failed.length > 0) throw failed[0].reason;
    for (const { value } of all) note(value);
  } else {
    for (let i = 0; i < count; i += 1) {
      const one = await start();
      note(one);
      seconds += one.ms / 1000;
      used = usage();
      await end(one.uuid);
    }
  }
  delay.disable();
  return {
    samples: { launch: samples },
    steps,
    values: { eventLoopDelayP99Ms: delay.percentile(99) / 1e6, eventLoopDelayMaxMs: delay.max / 1e6 },
    ...used,
    seconds,
  };

  function note(one) {
    samples.push(one.ms);
    for (const { step, milliseconds } of one.steps) {
      steps[step] ??= [];
      steps[step].push(milliseconds);
    }
  }
}

/** A launch whose step `start` is cut into the phases that libvirt's log shows. */
async function waterfall() {
  const before = existsSync(debugLog) ? statSync(debugLog).size : 0;
  const answer = await launch();
  const log = readFileSync(debugLog).subarray(before).toString();
  const { start: starts, ...steps } = answer.steps;
  const phases = startsOf(log).slice(-starts.length);
  if (phases.length < starts.length) throw new Error(`libvirt's log shows ${phases.length} starts`);
  for (const [index, phase] of phases.entries()) {
    let rest = starts[index];
    for (const [name, ms] of Object.entries(phase)) {
      steps[name] ??= [];
      steps[name].push(ms);
      rest -= ms;
    }
    steps.rest ??= [];
    steps.rest.push(rest);
  }
  return { ...answer, steps };
}

async function terminate() {
  const gone = [];
  const ended = [];
  let usage = meter();
  for (let i = 0; i < warmup + count; i += 1) {
    if (i === warmup) usage = meter();
    const { uuid } = await start();
    const pid = processOf(uuid);
    const begin = performance.now();
    const watch = exit(pid).then(() => performance.now() - begin);
    await end(uuid);
    const ms = performance.now() - begin;
    const goneMs = await watch;
    if (i < warmup) continue;
    ended.push(ms);
    gone.push(goneMs);
  }
  return { samples: { gone, terminate: ended }, ...usage() };
}

async function reboot() {
  const { uuid } = await start();
  return await inTurn({ reboot: () => node.reboot(uuid, 'hard') });
}

async function save() {
  const { uuid } = await start();
  return await inTurn({
    suspend: () => node.suspend(uuid),
    resume: () => node.resume(uuid),
  });
}

/** The guest must boot: it is what lets go of a device. */
async function attach() {
  const { uuid } = await start();
  await booted(join(instancesPath, uuid, 'console.log'));
  const volume = { driverVolumeType: 'file', data: { path: makeVolume(directory), format: 'raw' } };
  return await inTurn({
    attach: () => node.attachVolume(uuid, volume),
    detach: () => node.detachVolume(uuid, volume),
  });
}

async function snapshot() {
  const { uuid } = await start();
  await node.shutdown(uuid, { shutdownTimeoutMs: 0 });
  fillDisk(join(instancesPath, uuid, 'disk'));
  await node.start(uuid);
  const path = join(directory, 'snapshot');
  const pauses = [];
  const bytes = [];
  const events = node.events();
  void (async () => {
    for await (const { type, event } of events) {
      if (type === 'lifecycle' && event === 'suspended') pauses.push({ begin: performance.now() });
      // That of the start comes with none before it.
      if (type === 'lifecycle' && event === 'resumed' && pauses.length > 0)
        pauses.at(-1).end ??= performance.now();
    }
  })();
  const answer = await inTurn({
    snapshot: async () => {
      const { sizeBytes } = await node.snapshot(uuid, { type: 'file', path }, { compression: 'none' });
      bytes.push(sizeBytes);
      rmSync(path);
    },
  });
  const pausedMs = pauses.reduce((sum, { begin, end = performance.now() }) => sum + end - begin, 0);
  return { ...answer, values: snapshotValues(answer.samples.snapshot, bytes.at(-1), pausedMs) };
}

/** How fast the counted ones were, and how long the guest was stopped for each, those that are not counted among them. */
function snapshotValues(samples, bytes, pausedMs) {
  const mean = samples.reduce((sum, ms) => sum + ms, 0) / samples.length;
  return { mibPerSecond: bytes / 1024 ** 2 / (mean / 1000), pausedMs: pausedMs / (warmup + count) };
}

/** Each is a flavor of its own, and what comes of it is confirmed. */
async function resize() {
  const { uuid } = await start();
  const call = { shutdownTimeoutMs: 0, autoConfirm: true };
  let flavor = { vcpus: 1, memoryMb: 128, rootGb: 1 };
  const become = async (change) => {
    flavor = { ...flavor, ...change };
    await node.resize(uuid, flavor, call);
  };
  return await inTurn({
    resize: () => become(flavor.vcpus === 1 ? { vcpus: 2, memoryMb: 256 } : { vcpus: 1, memoryMb: 128 }),
    grow: () => become({ rootGb: flavor.rootGb + 1 }),
  });
}

/** Milliseconds of operations that are done in turn, by name. */
async function inTurn(operations) {
  const samples = Object.fromEntries(Object.keys(operations).map((name) => [name, []]));
  let usage = meter();
  for (let i = 0; i < warmup + count; i += 1) {
    if (i === warmup) usage = meter();
    for (const [name, operation] of Object.entries(operations)) {
      const begin = performance.now();
      await operation();
      if (i >= warmup) samples[name].push(performance.now() - begin);
    }
  }
  return { samples, ...usage() };
}

async function idle() {
  const usage = meter();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const rss = process.memoryUsage.rss() / 1024 ** 2;
  return { samples: { idle: [rss] }, ...usage() };
}

async function memory() {
  for (let i = 0; i < warmup; i += 1) await end((await start()).uuid);
  const usage = meter();
  const agent = () => residentMib('self') + (libvirtd ? residentMib(libvirtd) : 0);
  const before = agent();
  for (let i = 0; i < count; i += 1) await start();
  const after = agent();
  const qemu = [...began].map((uuid) => proportionalMib(processOf(uuid)));
  return { samples: { agent: [(after - before) / count], qemu }, values: { before, after }, ...usage() };
}

async function report() {
  for (let i = 0; i < options.instances; i += 1) await start();
  return await repeat('report', () => node.report(), { count, warmup });
}

/** From the call to the arrival with a reader of the node's events. */
async function events() {
  const stream = node.events();
  const arrival = async (event) => {
    // A reader of events alone does not keep the process alive: it would end here, and leave its QEMU.
    const alive = setInterval(() => undefined, 1000);
    try {
      for (;;) if ((await stream.next()).value.event === event) return performance.now();
    } finally {
      clearInterval(alive);
    }
  };
  const { uuid } = await start();
  // That of the start: left in the stream it would be taken for the first one's, and libvirt be asked to suspend what it
  // does not yet know to run again.
  await arrival('resumed');
  const latency = async (event, action) => {
    const begin = performance.now();
    const [arrived] = await Promise.all([arrival(event), action()]);
    return arrived - begin;
  };
  const samples = { suspend: [], resume: [] };
  let usage = meter();
  for (let i = 0; i < warmup + count; i += 1) {
    if (i === warmup) usage = meter();
    const suspend = await latency('suspended', () => node.pause(uuid));
    const resume = await latency('resumed', () => node.unpause(uuid));
    if (i < warmup) continue;
    samples.suspend.push(suspend);
    samples.resume.push(resume);
  }
  return { samples, ...usage() };
}

/** From the arrival of an event to that of the report that tells the state after it. */
async function reports() {
  const alive = setInterval(() => undefined, 1000);
  const reporter = await node.reporter({ intervalMs: 3_600_000 });
  try {
    const events = node.events();
    const told = reporter.reports();
    const arrival = async (event) => {
      for (;;) if ((await events.next()).value.event === event) return performance.now();
    };
    const report = async (uuid, state) => {
      for (;;) {
        const { instances } = (await told.next()).value;
        if (instances.some((one) => one.uuid === uuid && one.powerState === state)) return performance.now();
      }
    };
    const { uuid } = await start();
    await Promise.all([arrival('resumed'), report(uuid, 'running')]);
    const latency = async (event, state, action) => {
      const [arrived, reported] = await Promise.all([arrival(event), report(uuid, state), action()]);
      return reported - arrived;
    };
    const samples = [];
    let usage = meter();
    for (let i = 0; i < warmup + count; i += 1) {
      if (i === warmup) usage = meter();
      const suspended = await latency('suspended', 'paused', () => node.pause(uuid));
      const resumed = await latency('resumed', 'running', () => node.unpause(uuid));
      if (i >= warmup) samples.push(suspended, resumed);
    }
    return { samples: { report: samples }, ...usage() };
  } finally {
    clearInterval(alive);
    await reporter.close();
  }
}

/** The document of a launch with blanks to fill in, and QEMU's command line for it. */
async function writeDocument() {
  const { uuid, name } = await start();
  const log = readFileSync(join(root, 'log/qemu', `${name}.log`), 'utf8');
  const document = readFileSync(join(instancesPath, uuid, 'libvirt.xml'), 'utf8')
    .replaceAll(join(instancesPath, uuid, 'disk'), '@DISK@')
    .replaceAll(join(instancesPath, uuid, 'console.log'), '@LOG@')
    .replaceAll(uuid, '@UUID@')
    .replace(`<name>${name}</name>`, '<name>@NAME@</name>')
    .replace(/<metadata>[\s\S]*<\/metadata>/, '')
    // The backing chain: a peer's overlay lies on another base, and libvirt finds that by itself.
    .replace(/<backingStore type=[\s\S]*<\/backingStore>/, '')
    // Ports of its own for each, or two launched at once would meet.
    .replace(/ port='[1-9]\d*' autoport='no'/, " port='-1' autoport='yes'")
    .replace(/ port="[1-9]\d*" autoport="no"/, ' port="-1" autoport="yes"');
  return { samples: {}, document, commandLine: log };
}
