// A real Glance of a test's own: Debian's glance-api on 127.0.0.1 without Keystone, sqlite and image files in one directory.
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { accessSync, constants, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { eventually } from './host.js';

const PASTE = '/etc/glance/glance-api-paste.ini';
const START_MS = 90_000;
const STOP_MS = 10_000;

/** Why there can be none here; undefined where there can. */
export function glanceObstacle(): string | undefined {
  try {
    execFileSync('sh', ['-c', 'command -v glance-api && command -v glance-manage']);
  } catch {
    return 'needs glance-api (apt-get install --no-install-recommends glance-api)';
  }
  try {
    accessSync(PASTE, constants.R_OK);
  } catch {
    return `needs to read ${PASTE}, as root or in the group glance`;
  }
  return undefined;
}

export interface NewImage {
  readonly name?: string;
  readonly disk_format: string;
  readonly container_format: string;
  readonly [attribute: string]: unknown;
}

export class TestGlance {
  readonly url: string;
  readonly #directory: string;
  readonly #process: ChildProcess;
  readonly #exited: Promise<unknown>;

  private constructor(url: string, directory: string, process: ChildProcess) {
    this.url = url;
    this.#directory = directory;
    this.#process = process;
    this.#exited = new Promise((resolve) => process.once('exit', resolve));
  }

  static async start(directory: string): Promise<TestGlance> {
    const port = await freePort();
    const config = writeConfig(directory, port);
    await promisify(execFile)('glance-manage', ['--config-file', config, 'db_sync'], { timeout: START_MS });
    const output = openSync(join(directory, 'output.log'), 'w', 0o600);
    // A process group of its own: its workers end with it.
    const child = spawn('glance-api', ['--config-file', config], {
      cwd: directory,
      detached: true,
      stdio: ['ignore', output, output],
    });
    const glance = new TestGlance(`http://127.0.0.1:${port}`, directory, child);
    try {
      await eventually('Glance to answer', START_MS, async () => {
        if (child.exitCode !== null) throw new Error(`glance-api ended: ${glance.#log()}`);
        return await fetch(`${glance.url}/healthcheck`).then(
          ({ ok }) => ok,
          () => false,
        );
      });
    } catch (error) {
      await glance.stop();
      throw error;
    }
    return glance;
  }

  /** Registers an image, with its data where there is some, and gives its id. */
  async add(image: NewImage, data?: Buffer): Promise<string> {
    const { id } = (await this.#call('POST', '/v2/images', {
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(image),
    })) as { id: string };
    if (data) {
      await this.#call('PUT', `/v2/images/${id}/file`, {
        headers: { 'content-type': 'application/octet-stream' },
        body: new Uint8Array(data),
      });
    }
    return id;
  }

  async deactivate(id: string): Promise<void> {
    await this.#call('POST', `/v2/images/${id}/actions/deactivate`, {});
  }

  /** Where its store keeps the data. */
  file(id: string): string {
    return join(this.#directory, 'images', id);
  }

  async stop(): Promise<void> {
    const kill = setTimeout(() => this.#signal('SIGKILL'), STOP_MS);
    this.#signal('SIGTERM');
    await this.#exited;
    clearTimeout(kill);
  }

  #signal(name: NodeJS.Signals): void {
    const { pid, exitCode, signalCode } = this.#process;
    if (pid !== undefined && exitCode === null && signalCode === null) process.kill(-pid, name);
  }

  #log(): string {
    return readFileSync(join(this.#directory, 'output.log'), 'utf8').slice(-2000);
  }

  async #call(method: string, path: string, init: RequestInit): Promise<unknown> {
    const response = await fetch(`${this.url}${path}`, { ...init, method });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  }
}

/** Without a flavor the pipeline of the package asks nobody for a token. */
function writeConfig(directory: string, port: number): string {
  for (const name of ['images', 'staging', 'tasks', 'lock'])
    mkdirSync(join(directory, name), { mode: 0o700 });
  const path = join(directory, 'glance-api.conf');
  writeFileSync(
    path,
    `[DEFAULT]
bind_host = 127.0.0.1
bind_port = ${port}
workers = 1
enabled_backends = file:file
node_staging_uri = file://${directory}/staging
[database]
connection = sqlite:///${directory}/glance.sqlite
[glance_store]
default_backend = file
[file]
filesystem_store_datadir = ${directory}/images
[os_glance_staging_store]
filesystem_store_datadir = ${directory}/staging
[os_glance_tasks_store]
filesystem_store_datadir = ${directory}/tasks
[paste_deploy]
flavor =
config_file = ${PASTE}
[oslo_concurrency]
lock_path = ${directory}/lock
[oslo_policy]
enforce_scope = False
enforce_new_defaults = False
`,
  );
  return path;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}
