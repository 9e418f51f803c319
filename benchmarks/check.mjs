// Compares this build with another, side by side: exit status 1 where it is slower beyond the noise.
import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { BenchmarkHost } from './lib/host.mjs';
import { optionsOf } from './lib/measure.mjs';
import { runPeer } from './lib/peer.mjs';
import { judge } from './lib/regression.mjs';
import { median } from './lib/statistics.mjs';

const USAGE = `usage: node benchmarks/check.mjs [SCENARIO..] [--base REF|DIRECTORY] [--rounds N] [--count N] [--out FILE]

  SCENARIO      names below scenarios/; by default ${['warm-launch', 'terminate', 'call-overhead'].join(', ')}
  --base        a commit, which is built below build/check, or a directory that holds a built tree; by default origin/main,
                or the commit before this one where there is no such branch
  --rounds N    turns of each build (6); fewer than 5 can't be told from chance
  --count N     counted operations of each turn
  --out FILE    the comparison as JSON
`;
const ROOT = fileURLToPath(new URL('../', import.meta.url));
/** What runs our own code, and so differs between builds. */
const OWN_PEERS = ['node-compute', 'addon', 'resources'];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    base: { type: 'string' },
    rounds: { type: 'string', default: '6' },
    count: { type: 'string' },
    out: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  process.stdout.write(USAGE);
  process.exit(0);
}
if (process.getuid() !== 0) {
  console.error('benchmarks need root');
  process.exit(2);
}
const names = positionals.length > 0 ? positionals : ['warm-launch', 'terminate', 'call-overhead'];
const unknown = names.filter((name) => !existsSync(join(ROOT, `benchmarks/scenarios/${name}.mjs`)));
if (unknown.length > 0) {
  console.error(`no scenario ${unknown.join(', ')}\n${USAGE}`);
  process.exit(2);
}
const base = builtTree(values.base ?? defaultBase());
const host = new BenchmarkHost();
for (const [signal, status] of Object.entries({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129 })) {
  process.on(signal, () => process.exit(status));
}
process.on('exit', () => host.dispose());

const comparisons = [];
for (const name of names) {
  const { scenario } = await import(`./scenarios/${name}.mjs`);
  for (const [title, contender] of Object.entries(scenario.contenders)) {
    if (OWN_PEERS.includes(contender.peer)) comparisons.push(...(await compare(scenario, title, contender)));
  }
}
const width = Math.max(...comparisons.map(({ what }) => what.length));
for (const { what, base: before, build, unit, ratio, band, verdict } of comparisons) {
  const figures = `${before.toFixed(1)} -> ${build.toFixed(1)} ${unit}`.padEnd(28);
  console.log(
    `${what.padEnd(width)}  ${figures} ${ratio.toFixed(3)} (noise ${(band * 100).toFixed(0)} %)  ${verdict}`,
  );
}
if (values.out) writeFileSync(values.out, `${JSON.stringify({ base, comparisons }, null, 1)}\n`);
// Its libvirtds would keep this process alive.
host.dispose();
process.exitCode = comparisons.some(({ verdict }) => verdict === 'regression') ? 1 : 0;

async function compare(scenario, title, contender) {
  // The build between the two of the base: a machine that gets slower meanwhile favours neither.
  const trees = { base, build: ROOT, again: base };
  const count = Number(values.count ?? scenario.quick.count);
  const medians = { base: [], again: [], build: [] };
  const options = {};
  for (const [role, tree] of Object.entries(trees)) {
    const common = { warmup: 1, count, library: join(tree, 'dist') };
    options[role] = await optionsOf({ ...contender, name: `${title} ${role}` }, host, common);
    await runPeer(contender.peer, { ...options[role], count: 1, warmup: 0, concurrency: 1 });
  }
  for (let round = 0; round < Number(values.rounds); round += 1) {
    for (const role of Object.keys(trees)) {
      const { samples } = await runPeer(contender.peer, options[role]);
      medians[role].push(Object.fromEntries(Object.entries(samples).map(([key, all]) => [key, median(all)])));
    }
    console.error(`  ${scenario.name}, ${title}: round ${round + 1}/${values.rounds}`);
  }
  return Object.keys(medians.base[0]).map((measured) => {
    const of = (role) => medians[role].map((round) => round[measured]);
    const rounds = { base: of('base'), again: of('again'), build: of('build') };
    return {
      what: `${scenario.name}, ${title}: ${measured}`,
      unit: scenario.unit,
      base: median(rounds.base),
      build: median(rounds.build),
      ...judge(rounds),
      rounds,
    };
  });
}

function defaultBase() {
  const upstream = git('rev-parse', '--quiet', '--verify', 'origin/main^{commit}');
  return upstream !== '' && upstream !== git('rev-parse', 'HEAD') ? upstream : 'HEAD~1';
}

/** The directory itself, or that in which the commit was built. */
function builtTree(place) {
  if (existsSync(join(place, 'dist/index.js'))) return resolve(place);
  const commit = git('rev-parse', '--quiet', '--verify', `${place}^{commit}`);
  if (commit === '') {
    console.error(`${place} is neither a built tree nor a commit\n${USAGE}`);
    process.exit(2);
  }
  const tree = join(ROOT, 'build/check', commit);
  if (existsSync(join(tree, 'dist/index.js'))) return tree;
  console.error(`building ${commit} in ${tree}`);
  if (!existsSync(tree))
    execFileSync('git', ['worktree', 'add', '--quiet', '--detach', tree, commit], { cwd: ROOT });
  execFileSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: tree, stdio: ['ignore', 2, 2] });
  return tree;
}

function git(...words) {
  try {
    return execFileSync('git', words, {
      cwd: ROOT,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return '';
  }
}
