// Runs one stage in a process group and a sandbox of its own: at its time-out, or when it ends, nothing of it goes on running.
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { closeSandbox, createSandbox } from './sandbox.mjs';

const TAIL_LINES = 80;
const running = new Set();

const isRoot = process.getuid() === 0;

/** Ends a process, or with a negative number a group, also one that sudo started. */
function kill(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (error.code === 'EPERM')
      spawnSync('sudo', ['-n', 'kill', '-KILL', '--', String(pid)], { stdio: 'ignore' });
  }
}

/** Ends every stage that runs, and what it started. */
export async function stopAll() {
  await Promise.all(
    [...running].map(async ({ child, sandbox }) => {
      kill(-child.pid);
      await closeSandbox(sandbox, kill);
    }),
  );
}

/** sudo passes no environment on, hence `env` with what a stage needs of it. */
function asRoot({ command, args, env: own }, env) {
  if (isRoot) return { command, args };
  const names = ['CI', 'PATH', 'NO_COLOR', 'TMPDIR', 'NODE_COMPUTE_SANDBOX', 'NODE_COMPUTE_TEST_REPORT'];
  const pairs = [...names, ...Object.keys(own ?? {})]
    .filter((name) => env[name] !== undefined)
    .map((name) => `${name}=${env[name]}`);
  return { command: 'sudo', args: ['env', ...pairs, command, ...args] };
}

/** Runs one command; resolves to its exit status, signal, and whether it ran into the deadline. */
function runCommand(step, { root, log, sandbox, report, deadline }) {
  const env = {
    ...process.env,
    ...step.env,
    TMPDIR: sandbox,
    NODE_COMPUTE_SANDBOX: sandbox,
    NODE_COMPUTE_TEST_REPORT: report,
    NO_COLOR: '1',
  };
  const { command, args } = step.root ? asRoot(step, env) : step;
  writeSync(log, `$ ${[command, ...args].join(' ')}\n`);
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, env, detached: true, stdio: ['ignore', log, log] });
    const entry = { child, sandbox };
    running.add(entry);
    let timedOut = false;
    const timer = setTimeout(
      () => {
        timedOut = true;
        kill(-child.pid);
      },
      Math.max(0, deadline - Date.now()),
    );
    const end = (result) => {
      clearTimeout(timer);
      running.delete(entry);
      resolve({ ...result, timedOut });
    };
    child.on('error', (error) => end({ problem: `${command}: ${error.message}` }));
    child.on('exit', (status, signal) => end({ status, signal }));
  });
}

function readText(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** What a command counted, by what it left; undefined where it ended before it could. */
const counters = {
  exit: ({ ok }) => ({ passed: ok ? 1 : 0, failed: ok ? 0 : 1, skips: [] }),
  doctest: ({ output }) => {
    const match = /test cases: *\d+ \| *(\d+) passed \| *(\d+) failed \| *(\d+) skipped/.exec(output);
    if (!match) return undefined;
    const [passed, failed, skipped] = match.slice(1).map(Number);
    if (passed + failed === 0) return undefined;
    const skip = { test: 'a test case of native/test', reason: 'doctest::skip' };
    return { passed, failed, skips: Array.from({ length: skipped }, () => ({ ...skip })) };
  },
  vitest: ({ report }) => {
    const text = readText(report);
    if (!text) return undefined;
    const { passed, failed, skipped } = JSON.parse(text);
    return { passed, failed, skips: skipped };
  },
};

function describe({ status, signal, timedOut, problem }, step, timeoutMs) {
  if (problem) return problem;
  if (timedOut) return `${step.command} was stopped at the stage's time-out of ${timeoutMs / 1000} s`;
  return `${step.command} ended with ${signal ?? `status ${status}`}`;
}

/**
 * Runs the commands of a stage, up to the first failure unless the command is independent of those after it.
 * A failure that no test accounts for counts as one.
 */
export async function runStage(stage, { root, logs }) {
  const start = Date.now();
  const logPath = join(logs, `${stage.name}.log`);
  const report = join(logs, `${stage.name}.json`);
  const log = openSync(logPath, 'w');
  const sandbox = createSandbox();
  const result = { passed: 0, failed: 0, skips: [], counted: false, log: logPath.slice(root.length + 1) };
  if (stage.commands.length === 0) {
    result.failed = 1;
    result.problem = 'there is nothing to run';
  }
  for (const step of stage.commands) {
    rmSync(report, { force: true });
    if (step.directory) mkdirSync(join(root, step.directory), { recursive: true });
    const from = readText(logPath).length;
    const end = await runCommand(step, { root, log, sandbox, report, deadline: start + stage.timeoutMs });
    const ok = end.status === 0 && !end.timedOut;
    if (step.count) {
      const counts = counters[step.count]({ ok, report, output: readText(logPath).slice(from) });
      result.counted = true;
      result.passed += counts?.passed ?? 0;
      result.skips.push(...(counts?.skips ?? []));
      // A program that ran no test, or ended before it could say how many, has not passed.
      result.failed += counts?.failed || (ok && counts ? 0 : 1);
    } else if (!ok) {
      result.failed += 1;
    }
    if (!ok || result.failed > 0) {
      result.problem ??= describe(end, step, stage.timeoutMs);
      if (!step.independent) break;
    }
  }
  const left = await closeSandbox(sandbox, kill);
  if (left.length > 0) {
    // A stage that was stopped had no chance to clean up.
    if (result.failed === 0) result.failed = 1;
    result.problem ??= `left ${left.length} processes or mounts behind`;
    writeSync(log, `left behind; processes are killed now:\n  ${left.join('\n  ')}\n`);
  }
  closeSync(log);
  result.tail = readText(logPath).trimEnd().split('\n').slice(-TAIL_LINES).join('\n');
  result.durationMs = Date.now() - start;
  return result;
}
