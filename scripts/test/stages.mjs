// What the full test run consists of. A stage is a list of commands, run one after the other, that stop at the first failure.
import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';

const jobs = String(availableParallelism());
const minutes = (count) => count * 60_000;

/** Seconds for each parser; FUZZ_SECONDS=600 makes a long run of it. */
const fuzzSeconds = process.env.FUZZ_SECONDS ?? '5';

const node = (...args) => ({ command: process.execPath, args });
const check = (...args) => ({ ...node(...args), independent: true });

/** ThreadSanitizer of gcc 12 and clang 14 cannot map its shadow where the kernel randomises more than 28 bits. */
function withoutRandomisation(command) {
  const works = spawnSync('setarch', ['-R', 'true'], { stdio: 'ignore' }).status === 0;
  return works ? { command: 'setarch', args: ['-R', command] } : { command, args: [] };
}

function cmake(preset, ...targets) {
  return [
    { command: 'cmake', args: ['--preset', preset] },
    {
      command: 'cmake',
      args: [
        '--build',
        `build/cmake-${preset}`,
        '-j',
        jobs,
        ...(targets.length > 0 ? ['--target', ...targets] : []),
      ],
    },
  ];
}

const sanitizerOptions = {
  ASAN_OPTIONS: 'detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1:abort_on_error=0',
  LSAN_OPTIONS: 'suppressions=native/test/lsan.supp:print_suppressions=0',
  UBSAN_OPTIONS: 'print_stacktrace=1',
  TSAN_OPTIONS: 'suppressions=native/test/tsan.supp:halt_on_error=0:second_deadlock_stack=1',
};

function native(name, preset, timeoutMs, ...alsoBuilt) {
  const program = `build/cmake-${preset}/unit_tests`;
  const run = preset === 'tsan' ? withoutRandomisation(program) : { command: program, args: [] };
  return {
    name,
    timeoutMs,
    commands: [
      ...cmake(preset, 'unit_tests', ...alsoBuilt),
      { ...run, env: sanitizerOptions, count: 'doctest' },
    ],
  };
}

/** The parsers beside qcow2's, by the names of native/test/fuzz_formats.cc. */
const formatParsers = ['luks', 'ploop', 'qcow1', 'qed', 'vdi', 'vhd', 'vhdx', 'vmdk', 'vmdk_descriptor'];

function fuzz() {
  const run = (program, parser, env = {}) => {
    // What is found is kept beside the logs.
    const found = join('build/fuzz', parser);
    return {
      command: `build/cmake-fuzz/${program}`,
      args: [
        `-max_total_time=${fuzzSeconds}`,
        '-timeout=10',
        '-rss_limit_mb=2048',
        '-print_final_stats=1',
        `-artifact_prefix=${found}-`,
        found,
      ],
      directory: found,
      env: { ...sanitizerOptions, ...env },
      count: 'exit',
      independent: true,
    };
  };
  const runs = [
    run('fuzz_qcow2', 'qcow2'),
    ...formatParsers.map((parser) => run('fuzz_formats', parser, { FUZZ_PARSER: parser })),
  ];
  return {
    name: 'fuzz',
    timeoutMs: minutes(4) + runs.length * Number(fuzzSeconds) * 2000,
    commands: [...cmake('fuzz'), ...runs],
  };
}

/** Tiers that make bridges and taps and start guests do so as root. */
function tier(name, timeoutMs, { root = false, env = {} } = {}) {
  const vitest = node('node_modules/vitest/vitest.mjs', 'run', '--project', name);
  return { name, timeoutMs, commands: [{ ...vitest, env, root, count: 'vitest' }] };
}

function runtimeLibrary(name) {
  return spawnSync('g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).stdout?.trim() ?? name;
}

/** The lifetime tests on an addon with AddressSanitizer, whose runtime has to come first; Node.js leaks by design at exit. */
function lifetimeUnderAsan(root) {
  const env = {
    NODE_COMPUTE_ADDON: join(root, 'build/cmake-asan/node_compute.node'),
    LD_PRELOAD: ['libasan.so', 'libubsan.so', 'libstdc++.so.6'].map(runtimeLibrary).join(' '),
    ...sanitizerOptions,
    ASAN_OPTIONS: `${sanitizerOptions.ASAN_OPTIONS}:detect_leaks=0`,
  };
  const { commands } = tier('lifetime', 0, { root: true, env });
  return {
    name: 'lifetime-asan',
    timeoutMs: minutes(8),
    commands: [...cmake('asan', 'node_compute'), ...commands],
  };
}

/** Asked for by name only: what these find, the sanitizers find too. */
export function stagesOnDemand() {
  return [native('native', 'unit', minutes(8))];
}

/**
 * Groups run one after the other; in a group the lanes run side by side, the stages of a lane one after the other.
 * The last group has one lane: guests, and tests that measure time, want the machine for themselves.
 */
export function testPlan(root) {
  return [
    [
      [
        native('native-asan', 'asan', minutes(9), 'node_compute'),
        {
          name: 'lint',
          timeoutMs: minutes(2),
          commands: [
            check(
              'node_modules/@biomejs/biome/bin/biome',
              'check',
              '--error-on-warnings',
              '--max-diagnostics=50',
              '.',
            ),
            check('scripts/check-sources.mjs'),
            check('scripts/check-layers.mjs'),
            check('scripts/check-format.mjs'),
          ],
        },
        {
          name: 'typecheck',
          timeoutMs: minutes(2),
          commands: [
            check('node_modules/typescript/bin/tsc', '-p', 'tsconfig.json', '--noEmit'),
            check('node_modules/typescript/bin/tsc', '-p', 'test/tsconfig.json', '--noEmit'),
          ],
        },
        fuzz(),
        tier('unit', minutes(3)),
      ],
      [
        native('native-tsan', 'tsan', minutes(7)),
        tier('image', minutes(8), { root: true }),
        tier('golden', minutes(2)),
        tier('package', minutes(5)),
      ],
    ],
    [
      [
        tier('lifetime', minutes(5), { root: true }),
        lifetimeUnderAsan(root),
        tier('contract', minutes(6), { root: true }),
        tier('integration', minutes(12), { root: true }),
        tier('fault', minutes(8), { root: true }),
      ],
    ],
  ];
}
