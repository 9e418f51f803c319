// Runs a script with the addon in a Node.js of its own: what crashes there fails a test instead of the runner.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const addonPath =
  process.env['NODE_COMPUTE_ADDON'] ??
  fileURLToPath(new URL('../../build/Release/node_compute.node', import.meta.url));

const PRELUDE = `
import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
// The script's own flags would make a worker's source an ES module.
const startWorker = (source) => new Worker(source, { eval: true, execArgv: [] });
`;

const LOAD = `
const addon = createRequire('/')(${JSON.stringify(addonPath)});
const options = { reapOrphans: false, logFile: '' };
const open = () => addon.openConnection('test:///default', options, 0);
`;

export interface ChildResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Source of a worker thread that has the same names as the script. */
export function workerSource(body: string): string {
  return JSON.stringify(`
    const { createRequire } = require('node:module');
    const { parentPort } = require('node:worker_threads');
    const addon = createRequire('/')(${JSON.stringify(addonPath)});
    const options = { reapOrphans: false, logFile: '' };
    const open = () => addon.openConnection('test:///default', options, 0);
    (async () => { ${body} })();
  `);
}

/** The process group is killed at the deadline: a hang is a failure, not a stuck run. */
export async function runChild(
  body: string,
  { loadAddon = true, timeoutMs = 60_000 }: { loadAddon?: boolean; timeoutMs?: number } = {},
): Promise<ChildResult> {
  const script = PRELUDE + (loadAddon ? LOAD : '') + body;
  const child = spawn(process.execPath, ['--expose-gc', '--input-type=module', '-e', script], {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data: Buffer) => (stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
  const timer = setTimeout(() => child.pid && process.kill(-child.pid, 'SIGKILL'), timeoutMs);
  return await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, stdout, stderr });
    });
  });
}
