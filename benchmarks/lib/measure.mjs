// A scenario from its contenders to its result: trials in turn, rows of figures, goals met or not.
import { PrivateGlance } from '../../scripts/private-glance.mjs';
import { busyShare, describeMachine } from './machine.mjs';
import { peerObstacle, runPeer } from './peer.mjs';
import { canTrace, programsOf } from './programs.mjs';
import { mean, median, ratio, summary } from './statistics.mjs';

/** Share of the CPUs that others may use before a result is marked. */
const BUSY = 0.15;

/** Gives the result, or throws; `programs` counts what is executed, which takes minutes; `tell` gets a line for each trial. */
export async function measure(scenario, host, { rounds, count, programs, tell }) {
  const busyBefore = await busyShare();
  const skipped = [];
  const contenders = [];
  for (const [name, contender] of Object.entries(scenario.contenders)) {
    const why = peerObstacle(contender.peer) ?? (contender.glance && PrivateGlance.obstacle());
    if (why) skipped.push({ name, why });
    else contenders.push({ name, ...contender, trials: [] });
  }
  for (const { name, why } of skipped) tell(`${name}: skipped: ${why}`);
  for (const contender of contenders) {
    contender.options = await optionsOf(contender, host, { warmup: 1, count });
    // Once for itself: libvirt learns what QEMU can do, and the image gets into the cache.
    await runPeer(contender.peer, { ...contender.options, count: 1, warmup: 0, concurrency: 1 });
    if (programs && scenario.programs && canTrace()) {
      tell(`${contender.name}: counts the programs it runs`);
      contender.programs = await programsOf(
        contender.peer,
        ...(contender.libvirtd
          ? [
              { ...contender.options, uri: await host.libvirtd(contender.libvirtd, { traced: true }) },
              host.traceOf(contender.libvirtd),
            ]
          : [contender.options]),
      );
    }
  }
  for (let round = 0; round < rounds; round += 1) {
    for (const contender of contenders) {
      const { libvirtd } = contender;
      const before = libvirtd && host.cpuSecondsOf(libvirtd);
      const trial = await runPeer(contender.peer, contender.options);
      if (libvirtd) trial.libvirtdCpuSeconds = host.cpuSecondsOf(libvirtd) - before;
      contender.trials.push(trial);
      const figures = Object.entries(trial.samples).map(
        ([measured, values]) =>
          `${measured} ${median(values).toFixed(scenario.digits ?? 1)} ${scenario.unit}`,
      );
      tell(`round ${round + 1}/${rounds}  ${contender.name.padEnd(34)} ${figures.join(', ')}`);
    }
  }
  const busyAfter = await busyShare();
  const rows = contenders.flatMap((contender) => rowsOf(contender, contenders, scenario));
  return {
    scenario: scenario.name,
    question: scenario.question,
    unit: scenario.unit,
    digits: scenario.digits ?? 1,
    base: scenario.base,
    chart: scenario.chart ?? 'bars',
    notes: scenario.notes ?? [],
    machine: describeMachine(),
    busyBefore,
    busyAfter,
    // Marked, not hidden: the work of others makes times longer.
    loaded: Math.max(busyBefore, busyAfter) > BUSY,
    rounds,
    count,
    rows,
    goals: (scenario.goals ?? []).map((goal) => judged(goal, rows)),
    skipped,
  };
}

/** The argument of a contender's peer: what is common to all, what the host has for it, and what the scenario says. */
export async function optionsOf(contender, host, common) {
  const { peer, libvirtd, name, image, glance, guest, fleet, options = {} } = contender;
  const template = peer === 'node-compute' ? undefined : await host.template();
  return {
    work: 'launch',
    ...common,
    concurrency: 1,
    directory: host.directoryOf(name),
    image: image ? host.largeImage(image) : host.image,
    base: host.base,
    ...(guest && host.guest()),
    bridge: host.bridge,
    ...(template && { xml: template.path, ...(peer === 'bare-qemu' && { command: template.command }) }),
    ...(libvirtd && { uri: await host.libvirtd(libvirtd), libvirtd: host.pidOf(libvirtd) }),
    ...(libvirtd === 'logged' && { debugLog: host.debugLogOf(libvirtd) }),
    ...(glance && { glance: await host.glance(glance.rate) }),
    ...(fleet && { uri: await host.fleet(libvirtd, fleet) }),
    ...(options.work === 'call' && { uri: await host.testDriver(libvirtd) }),
    ...options,
  };
}

function rowsOf({ name, trials, options, programs }, contenders, scenario) {
  const base = contenders.find((other) => other.name === scenario.base);
  return Object.keys(trials[0].samples).map((measured) => {
    const medians = (all) => all.map(({ samples }) => median(samples[measured] ?? [Number.NaN]));
    const throughputs = (all) => all.map((trial) => trial.samples[measured].length / trial.seconds);
    const samples = trials.flatMap((trial) => trial.samples[measured]);
    const perOperation = (key) =>
      median(trials.map((trial) => (trial[key] * 1000) / (trial.samples[measured].length || 1)));
    return {
      contender: name,
      measure: measured,
      concurrency: options.concurrency,
      ...summary(samples),
      perSecond: median(throughputs(trials)),
      ...(base?.trials[0].samples[measured] && {
        ratio: ratio(medians(trials), medians(base.trials)),
        perSecondRatio: ratio(throughputs(trials), throughputs(base.trials)),
      }),
      cpuMsPerOperation: perOperation('cpuSeconds'),
      ...(trials[0].libvirtdCpuSeconds !== undefined && {
        libvirtdCpuMsPerOperation: perOperation('libvirtdCpuSeconds'),
      }),
      peakRssMib: median(trials.map(({ peakRssMib }) => peakRssMib)),
      threads: median(trials.map(({ threads }) => threads)),
      ...(programs && {
        programs,
        programsEach: Object.values(programs).reduce((sum, times) => sum + times, 0),
      }),
      ...(trials[0].steps && { steps: meansOf(trials.map(({ steps }) => steps)) }),
      ...(trials[0].values && { values: mediansOf(trials.map(({ values }) => values)) }),
      samples: thinned(samples).map((value) => Number(value.toFixed(4))),
    };
  });
}

/** At most a thousand of many, evenly over their range: a result stays a file that can be read. */
function thinned(samples, most = 1000) {
  if (samples.length <= most) return samples;
  const sorted = samples.toSorted((a, b) => a - b);
  const last = sorted.length - 1;
  return Array.from({ length: most }, (_, index) => sorted[Math.round((index / (most - 1)) * last)]);
}

/** Means by key of records of arrays: unlike medians they add up to the whole. */
function meansOf(records) {
  return Object.fromEntries(
    Object.keys(records[0]).map((key) => [key, mean(records.flatMap((record) => record[key] ?? []))]),
  );
}

/** Medians by key of records of numbers. */
function mediansOf(records) {
  return Object.fromEntries(
    Object.keys(records[0]).map((key) => [key, median(records.map((record) => record[key]))]),
  );
}

/**
 * A goal names a figure of one row, `of`, alone, or `over` or `minus` that of another; and `atMost` or `atLeast` what it
 * is to be. `got` is undefined where a contender was skipped.
 */
function judged({ text, of, over, minus, atMost, atLeast }, rows) {
  const figure = ({ contender, measure: measured, value = 'median', concurrency }) => {
    const row = rows.find(
      (one) =>
        one.contender === contender &&
        (measured === undefined || one.measure === measured) &&
        (concurrency === undefined || one.concurrency === concurrency),
    );
    return row?.[value] ?? row?.values?.[value];
  };
  const got = (figure(of) - (minus ? figure(minus) : 0)) / (over ? figure(over) : 1);
  if (Number.isNaN(got)) return { text, atMost, atLeast };
  return { text, atMost, atLeast, got, met: atMost === undefined ? got >= atLeast : got <= atMost };
}
