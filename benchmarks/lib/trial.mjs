// One contender's round in a process of its own: it prints one JSON line, `{"ms":[...], ...}`.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const TIMEOUT_MS = 300_000;

/** Runs a peer's file with its options; the process group is killed at the deadline. */
export async function runTrial(peer, options) {
  const path = fileURLToPath(new URL(`../peers/${peer}.mjs`, import.meta.url));
  const child = spawn(process.execPath, [path, JSON.stringify(options)], {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data) => (stdout += data));
  child.stderr.on('data', (data) => (stderr += data));
  const timer = setTimeout(() => process.kill(-child.pid, 'SIGKILL'), TIMEOUT_MS);
  const code = await new Promise((resolve) => child.on('close', resolve));
  clearTimeout(timer);
  if (code !== 0) throw new Error(`${peer} ended with status ${code}: ${stderr.slice(-2000)}`);
  return JSON.parse(stdout.trim().split('\n').at(-1));
}

/** What this very process has used so far. */
export function usage() {
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  return { cpuSeconds: (userCPUTime + systemCPUTime) / 1e6, peakRssMib: maxRSS / 1024 };
}
