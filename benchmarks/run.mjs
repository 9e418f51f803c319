// Runs scenarios, their contenders in turn (A B A B) in fresh processes, and writes results/SCENARIO.json and the reports.
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { BenchmarkHost } from './lib/host.mjs';
import { measure } from './lib/measure.mjs';
import { RESULTS, writeDocument, writeReports } from './report/index.mjs';

/** Indented, but a row of numbers in one line. */
const readable = (result) =>
  `${JSON.stringify(result, null, 1).replace(/\[\s+([-\d.,\s]+?)\s+\]/g, (_, numbers) => `[${numbers.replace(/\s+/g, ' ')}]`)}\n`;

const USAGE = `usage: node benchmarks/run.mjs [SCENARIO..] [--all] [--rounds N] [--count N] [--out DIRECTORY]

  SCENARIO      names below scenarios/; the quick ones by default
  --all         every scenario, with more rounds
  --rounds N    turns of each contender
  --count N     counted operations of each turn
  --out DIR     where the results and the report go; by default results/, and docs/performance.md is written too
  --json        the results as one JSON object on standard output, progress on standard error
  --list        the scenarios, and what they ask
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    all: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    count: { type: 'string' },
    out: { type: 'string' },
    list: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  process.stdout.write(USAGE);
  process.exit(0);
}

const scenarios = await Promise.all(
  readdirSync(new URL('scenarios/', import.meta.url))
    .filter((file) => file.endsWith('.mjs'))
    .sort()
    .map(async (file) => (await import(`./scenarios/${file}`)).scenario),
);
const say = values.json ? console.error : console.log;
const answer = (fields) => values.json && process.stdout.write(`${JSON.stringify(fields)}\n`);
if (values.list) {
  for (const { name, question } of scenarios) say(`${name.padEnd(18)} ${question}`);
  answer({ scenarios: scenarios.map(({ name, question }) => ({ name, question })) });
  process.exit(0);
}
const unknown = positionals.filter((name) => !scenarios.some((scenario) => scenario.name === name));
if (unknown.length > 0 || process.getuid() !== 0) {
  console.error(unknown.length > 0 ? `no scenario ${unknown.join(', ')}\n${USAGE}` : 'benchmarks need root');
  process.exit(2);
}

const out = values.out ?? RESULTS;
mkdirSync(out, { recursive: true });
const chosen = scenarios.filter(({ name, slow }) =>
  positionals.length > 0 ? positionals.includes(name) : values.all || !slow,
);
const host = new BenchmarkHost();
const results = [];
let failed = 0;
for (const [signal, status] of Object.entries({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129 })) {
  process.on(signal, () => process.exit(status));
}
process.on('exit', () => host.dispose());
for (const [index, scenario] of chosen.entries()) {
  say(`${index + 1}/${chosen.length} ${scenario.name}: ${scenario.question}`);
  const amount = scenario[values.all ? 'full' : 'quick'];
  try {
    const result = await measure(scenario, host, {
      rounds: Number(values.rounds ?? amount.rounds),
      count: Number(values.count ?? amount.count),
      programs: values.all,
      tell: (line) => say(`  ${line}`),
    });
    writeFileSync(`${out}/${scenario.name}.json`, readable(result));
    results.push(result);
    for (const { text, got, met } of result.goals) {
      say(
        `  goal: ${text}: ${got === undefined ? 'not measured' : `${got.toFixed(2)}: ${met ? 'met' : 'NOT met'}`}`,
      );
    }
    if (result.loaded) say('  the machine had other work: the result is marked');
  } catch (error) {
    failed += 1;
    console.error(`  failed: ${error.message}`);
  }
}
host.dispose();
writeReports(out);
if (values.out === undefined) writeDocument();
answer({ directory: out, results });
process.exitCode = failed === 0 ? 0 : 1;
