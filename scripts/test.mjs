// Runs all checks and tests in stages, and ends with one line that counts them: "N passed, N failed, N skipped".
// Usage: node scripts/test.mjs [--only STAGE]... [--list]      Logs: build/test-logs/STAGE.log
import { mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { readAllowedSkips, unexpectedSkips } from './test/skips.mjs';
import { runStage, stopAll } from './test/stage-runner.mjs';
import { stagesOnDemand, testPlan } from './test/stages.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
process.chdir(root);

const { values } = parseArgs({
  options: { only: { type: 'string', multiple: true }, list: { type: 'boolean' } },
});
const plan = [...testPlan(root), [stagesOnDemand()]];
const names = plan.flat(2).map(({ name }) => name);
if (values.list) {
  console.log(names.join('\n'));
  process.exit(0);
}
for (const name of values.only ?? []) {
  if (names.includes(name)) continue;
  console.error(`no stage is named ${name}; there are: ${names.join(', ')}`);
  process.exit(2);
}
const onDemand = stagesOnDemand().map(({ name }) => name);
const isWanted = ({ name }) => values.only?.includes(name) ?? !onDemand.includes(name);

const logs = join(root, 'build/test-logs');
if (!values.only) rmSync(logs, { recursive: true, force: true });
mkdirSync(logs, { recursive: true });

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.once(signal, async () => {
    await stopAll();
    process.exit(130);
  });
}

const allowedSkips = readAllowedSkips(join(root, 'test/allowed-skips.json'));
const total = { passed: 0, failed: 0, skipped: 0 };

function report(stage, result) {
  const unexpected = unexpectedSkips(result.skips, allowedSkips);
  // A developer's machine may lack what a test needs; where CI runs, a test that silently stopped running is a failure.
  const failed = result.failed + (process.env.CI === 'true' ? unexpected.length : 0);
  total.passed += result.passed;
  total.failed += failed;
  total.skipped += result.skips.length;
  const counts = result.counted ? `${result.passed} passed` : '';
  const time = `${(result.durationMs / 1000).toFixed(1)} s`;
  const state = failed > 0 ? 'FAIL' : 'ok';
  const extra = failed > 0 ? `, ${failed} failed` : '';
  const skipped = result.skips.length > 0 ? `, ${result.skips.length} skipped` : '';
  console.log(
    `  ${state.padEnd(5)}${stage.name.padEnd(16)}${time.padStart(8)}   ${counts}${extra}${skipped}`,
  );
  for (const skip of result.skips) {
    const note = unexpected.includes(skip) ? ' (not in test/allowed-skips.json)' : '';
    console.log(`         skipped: ${skip.test}: ${skip.reason || 'no reason given'}${note}`);
  }
  if (result.failed > 0) {
    console.log(`  ---- ${result.problem}; the end of ${result.log}:`);
    console.log(result.tail.replace(/^/gm, '  | '));
  }
}

async function runLane(stages) {
  for (const stage of stages.filter(isWanted)) report(stage, await runStage(stage, { root, logs }));
}

const start = Date.now();
for (const lanes of plan) await Promise.all(lanes.map(runLane));

const seconds = Math.round((Date.now() - start) / 1000);
console.log(`\nall stages in ${Math.floor(seconds / 60)} min ${seconds % 60} s, logs in build/test-logs`);
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed > 0 ? 1 : 0;
