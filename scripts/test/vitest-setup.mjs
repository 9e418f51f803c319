// Runs once around a vitest run: gives it a sandbox, and fails the run where a test left a process behind.
import { closeSandbox, createSandbox } from './sandbox.mjs';

let directory;

export function setup() {
  // Several projects share one run, and scripts/test.mjs brings a sandbox of its own.
  if (process.env.NODE_COMPUTE_SANDBOX) return;
  directory = createSandbox();
  process.env.NODE_COMPUTE_SANDBOX = directory;
  process.env.TMPDIR = directory;
}

export async function teardown() {
  if (!directory) return;
  const left = await closeSandbox(directory);
  if (left.length === 0) return;
  console.error(`tests left ${left.length} processes behind, now killed:\n  ${left.join('\n  ')}`);
  process.exitCode = 1;
}
