// The one place that starts qemu-img: format always named, limits, own process group, no name that it could misread.
import { type ChildProcess, spawn } from 'node:child_process';
import { ComputeError } from '../driver/errors.js';

const GIB = 2 ** 30;
const STDERR_BYTES = 4096;
/** Room for what QEMU itself maps; images of any size convert within it. */
const ADDRESS_SPACE_BYTES = 2 * GIB;
const FILE_SLACK_BYTES = 2 ** 20;
/** Coroutines at work at once. More gain nothing on compressed images and cost memory. */
const COROUTINES = 8;

export interface QemuImgJob {
  /** Name or absolute path of the program. */
  readonly program: string;
  readonly source: string;
  readonly format: 'qcow2';
  readonly virtualSizeBytes: number;
  readonly signal: AbortSignal;
}

/**
 * `qemu-img check`: refuses what QEMU itself finds corrupt. Leaked clusters are no harm. Rejects with
 * `IMAGE_UNACCEPTABLE` (rule `qemu-img-check`), `ABORTED`, or `IMAGE_CONVERSION_FAILED` where it could not run.
 */
export async function checkImage(job: QemuImgJob): Promise<void> {
  const { code, signal, stderr } = await run('check', job, [fileNode(job.source)], 0);
  const LEAKS_ONLY = 3;
  if (code === 0 || code === LEAKS_ONLY) return;
  throw new ComputeError(
    'IMAGE_UNACCEPTABLE',
    `qemu-img check refuses the image: ${outcome(code, signal, stderr)}`,
    {
      operation: 'qemu-img check',
      details: { rule: 'qemu-img-check', exitCode: code, signal },
    },
  );
}

/**
 * `qemu-img convert` into a sparse raw file that must not exist. The caller checks the result's length: neither it nor
 * status 0 proves anything. Rejects with `IMAGE_CONVERSION_FAILED` or `ABORTED`; the target may then be there.
 */
export async function convertToRaw(
  job: QemuImgJob & { readonly target: string; readonly onFraction: (fraction: number) => void },
): Promise<void> {
  const args = [
    '-p',
    '-O',
    'raw',
    '-W',
    '-m',
    String(COROUTINES),
    fileNode(job.source),
    `file:${absolute(job.target)}`,
  ];
  const { code, signal, stderr } = await run('convert', job, args, job.virtualSizeBytes, (text) => {
    const percent = text
      .match(/\((\d+(?:\.\d+)?)\/100%\)/g)
      ?.at(-1)
      ?.slice(1);
    if (percent !== undefined) job.onFraction(Number.parseFloat(percent) / 100);
  });
  if (code === 0) return;
  throw new ComputeError(
    'IMAGE_CONVERSION_FAILED',
    `qemu-img convert failed: ${outcome(code, signal, stderr)}`,
    {
      operation: 'qemu-img convert',
      details: { exitCode: code, signal },
    },
  );
}

interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
}

async function run(
  subcommand: 'check' | 'convert',
  job: QemuImgJob,
  args: readonly string[],
  fileBytes: number,
  onStdout: (text: string) => void = () => undefined,
): Promise<Outcome> {
  job.signal.throwIfAborted();
  const limits = [
    `--as=${ADDRESS_SPACE_BYTES}`,
    // Nova's fixed 30 s fail large compressed images for ever: a second per 256 MiB of disk more.
    `--cpu=${30 + Math.ceil(job.virtualSizeBytes / (GIB / 4))}`,
    `--fsize=${fileBytes + FILE_SLACK_BYTES}`,
    '--core=0',
  ];
  // setpriv: the kernel ends the child when this process dies, however that happens.
  const child = spawn(
    'setpriv',
    [
      '--pdeathsig',
      'KILL',
      '--',
      'prlimit',
      ...limits,
      '--',
      job.program,
      subcommand,
      '-f',
      job.format,
      ...args,
    ],
    {
      detached: true,
      cwd: '/',
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C', MALLOC_ARENA_MAX: '2' },
    },
  );
  return await supervise(child, job.signal, onStdout);
}

/** Resolves when the whole group is gone and its pipes are closed, however it ended. */
async function supervise(
  child: ChildProcess,
  signal: AbortSignal,
  onStdout: (text: string) => void,
): Promise<Outcome> {
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', onStdout);
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(0, STDERR_BYTES);
  });
  const kill = (): void => {
    if (child.pid === undefined) return;
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // Already gone.
    }
  };
  signal.addEventListener('abort', kill, { once: true });
  try {
    const ended = await new Promise<{ code: number | null; signal: NodeJS.Signals | null }>(
      (resolve, reject) => {
        child.on('close', (code, killedBy) => resolve({ code, signal: killedBy }));
        child.on('error', (cause) => {
          const message = 'setpriv cannot be started; install util-linux';
          reject(new ComputeError('HOST_UNSUITABLE', message, { operation: 'qemu-img', cause }));
        });
      },
    );
    if (signal.aborted) throw new ComputeError('ABORTED', 'qemu-img was aborted', { operation: 'qemu-img' });
    const COMMAND_NOT_FOUND = 127;
    if (ended.code === COMMAND_NOT_FOUND) {
      throw new ComputeError('HOST_UNSUITABLE', `qemu-img or prlimit cannot be started: ${stderr.trim()}`, {
        operation: 'qemu-img',
      });
    }
    return { ...ended, stderr };
  } finally {
    signal.removeEventListener('abort', kill);
  }
}

/** Names the protocol and switches the backing file off, whatever the path or the image's header say. */
function fileNode(path: string): string {
  return `json:${JSON.stringify({ file: { driver: 'file', filename: absolute(path) }, backing: null })}`;
}

function absolute(path: string): string {
  if (!path.startsWith('/')) throw new ComputeError('INTERNAL', `qemu-img needs absolute paths, not ${path}`);
  return path;
}

function outcome(code: number | null, signal: NodeJS.Signals | null, stderr: string): string {
  const how = signal === null ? `exit status ${code}` : `ended by ${signal}`;
  const said = stderr.trim();
  return said === '' ? how : `${how}: ${said}`;
}
