// What the full test run consists of. A stage is a list of commands, run one after the other, that stop at the first failure.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';

const jobs = String(availableParallelism());
const minutes = (count) => count * 60_000;

/** Seconds for each fuzz target; FUZZ_SECONDS=600 makes a long run of it. */
const fuzzSeconds = process.env.FUZZ_SECONDS ?? '10';

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

function native(name, preset, timeoutMs) {
  const program = `build/cmake-${preset}/unit_tests`;
  const run = preset === 'tsan' ? withoutRandomisation(program) : { command: program, args: [] };
  return {
    name,
    timeoutMs,
    commands: [...cmake(preset, 'unit_tests'), { ...run, env: sanitizerOptions, count: 'doctest' }],
  };
}

function fuzz(root) {
  const targets = readdirSync(join(root, 'native/test'))
    .filter((file) => /^fuzz_.*\.cc$/.test(file))
    .map((file) => file.slice(0, -'.cc'.length));
  const run = (target) => {
    const corpus = join('native/test/corpus', target);
    // What is found is kept beside the logs; the committed corpus is only read.
    const found = join('build/fuzz', target);
    return {
      command: `build/cmake-fuzz/${target}`,
      args: [
        `-max_total_time=${fuzzSeconds}`,
        '-timeout=10',
        '-rss_limit_mb=2048',
        '-print_final_stats=1',
        `-artifact_prefix=build/fuzz/${target}-`,
        found,
        ...(existsSync(join(root, corpus)) ? [corpus] : []),
      ],
      directory: found,
      env: sanitizerOptions,
      count: 'exit',
      independent: true,
    };
  };
  return {
    name: 'fuzz',
    timeoutMs: minutes(4) + targets.length * Number(fuzzSeconds) * 2000,
    commands: targets.length > 0 ? [...cmake('fuzz'), ...targets.map(run)] : [],
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

/**
 * Groups run one after the other; in a group the lanes run side by side, the stages of a lane one after the other.
 * The last group has one lane: guests, and tests that measure time, want the machine for themselves.
 */
export function testPlan(root) {
  return [
    [
      [
        native('native', 'unit', minutes(8)),
        native('native-asan', 'asan', minutes(12)),
        native('native-tsan', 'tsan', minutes(15)),
        fuzz(root),
      ],
      [
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
        tier('unit', minutes(3)),
        tier('golden', minutes(2)),
        tier('package', minutes(5)),
      ],
    ],
    [
      [
        tier('lifetime', minutes(5), { root: true }),
        lifetimeUnderAsan(root),
        tier('contract', minutes(6), { root: true }),
        tier('integration', minutes(10), { root: true }),
        tier('fault', minutes(6), { root: true }),
      ],
    ],
  ];
}
