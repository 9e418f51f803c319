// Runs scenarios, their contenders interleaved (A B A B) in fresh processes, and writes results/SCENARIO.json and reports.
// Usage: node benchmarks/run.mjs [--quick] [--rounds N] [--launches N] [--scenario NAME]
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { describeMachine, load } from './lib/machine.mjs';
import { ratio, summary } from './lib/statistics.mjs';
import { writeReports } from './report.mjs';

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    launches: { type: 'string' },
    scenario: { type: 'string' },
  },
});
const rounds = Number(values.rounds ?? (values.quick ? 4 : 8));
const launches = Number(values.launches ?? (values.quick ? 6 : 12));
/** Launches of each process that are not counted. */
const WARM_UP = 2;
const results = fileURLToPath(new URL('results/', import.meta.url));
mkdirSync(results, { recursive: true });

const names = readdirSync(new URL('scenarios/', import.meta.url)).map((file) => file.replace(/\.mjs$/, ''));
for (const name of names) {
  if (values.scenario !== undefined && values.scenario !== name) continue;
  const scenario = await import(`./scenarios/${name}.mjs`);
  const obstacle = scenario.obstacle();
  if (obstacle !== undefined) {
    console.log(`${name}: skipped: ${obstacle}`);
    continue;
  }
  await measure(scenario);
}
writeReports();

async function measure(scenario) {
  console.log(`${scenario.name}: ${scenario.question}`);
  const before = load();
  const { contenders, dispose } = await scenario.prepare({ launches, warmup: WARM_UP });
  const trials = Object.fromEntries(Object.keys(contenders).map((contender) => [contender, []]));
  try {
    for (let round = 0; round < rounds; round += 1) {
      for (const [contender, run] of Object.entries(contenders)) {
        trials[contender].push(await run());
        const { median } = summary(trials[contender].at(-1).ms);
        console.log(
          `  round ${round + 1}/${rounds}  ${contender.padEnd(36)} ${median.toFixed(1)} ${scenario.unit}`,
        );
      }
    }
  } finally {
    dispose();
  }
  const after = load();
  const result = {
    scenario: scenario.name,
    question: scenario.question,
    unit: scenario.unit,
    base: scenario.base,
    machine: describeMachine(),
    loadBefore: before,
    loadAfter: after,
    // Another's load makes times longer, not shorter: marked, not hidden. One launch at a time stays below two.
    loaded: Math.max(before, after) > Math.max(cpus().length, 2),
    rounds,
    contenders: Object.entries(trials).map(([contender, all]) =>
      contenderResult(contender, all, trials[scenario.base]),
    ),
  };
  writeFileSync(`${results}${scenario.name}.json`, `${JSON.stringify(result, null, 2)}\n`);
}

function contenderResult(contender, all, base) {
  const steps = all.some((trial) => trial.steps)
    ? Object.fromEntries(
        Object.keys(all[0].steps).map((step) => [
          step,
          summary(all.flatMap((trial) => trial.steps[step])).median,
        ]),
      )
    : undefined;
  return {
    name: contender,
    ...summary(all.flatMap(({ ms }) => ms)),
    ratio: ratio(
      all.map(({ ms }) => ms),
      base.map(({ ms }) => ms),
    ),
    steps,
    eventLoopDelayP99Ms:
      all[0].eventLoopDelayMs && summary(all.map((trial) => trial.eventLoopDelayMs.p99)).median,
    cpuSecondsPerLaunch: summary(all.map(({ cpuSeconds, ms }) => cpuSeconds / (ms.length + WARM_UP))).median,
    peakRssMib: summary(all.map(({ peakRssMib }) => peakRssMib)).median,
  };
}
