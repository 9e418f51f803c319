// A temporary directory for one test run; by it, whatever the run started is found again and ended, daemons included.
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const GRACE_MS = 3000;

/** Makes the directory and points TMPDIR at it. libvirt hands TMPDIR on to QEMU, so that a guest is found by it too. */
export function createSandbox() {
  // Short, since sockets are made below it; others may pass through it, since QEMU may run as a user of its own.
  const directory = mkdtempSync(join(tmpdir(), 'nc-'));
  chmodSync(directory, 0o711);
  return directory;
}

function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // the process has ended, or is not ours to look into
  }
}

function parents() {
  const chain = new Set([process.pid]);
  for (let pid = process.ppid; pid > 0 && !chain.has(pid); ) {
    chain.add(pid);
    pid = Number(/^PPid:\s*(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0);
  }
  return chain;
}

/** Processes that run in the sandbox: it is their TMPDIR or one of their arguments. */
export function processesOf(directory) {
  const own = parents();
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && !own.has(Number(entry)))
    .map((entry) => ({
      pid: Number(entry),
      command: read(`/proc/${entry}/cmdline`).replaceAll('\0', ' ').trim(),
    }))
    .filter(
      ({ pid, command }) =>
        command !== '' &&
        (command.includes(`${directory}/`) ||
          read(`/proc/${pid}/environ`).split('\0').includes(`TMPDIR=${directory}`)),
    );
}

/**
 * Waits a moment for what is ending by itself, kills the rest, removes the directory.
 * Returns the commands that had to be killed, and why the directory is still there if it is.
 */
export async function closeSandbox(directory, kill = (pid) => process.kill(pid, 'SIGKILL')) {
  const deadline = Date.now() + GRACE_MS;
  let left = processesOf(directory);
  while (left.length > 0 && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    left = processesOf(directory);
  }
  for (const { pid } of left) {
    try {
      kill(pid);
    } catch {
      // It ended in the meantime.
    }
  }
  const commands = left.map(({ command }) => command.slice(0, 160));
  try {
    rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  } catch (error) {
    // A file system still mounted in it, for one.
    commands.push(error.message);
  }
  return commands;
}
