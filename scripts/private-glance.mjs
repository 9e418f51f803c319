// A Glance of one's own: Debian's glance-api without Keystone, sqlite and image files in one directory.
import { execFile, execFileSync, spawn } from 'node:child_process';
import {
  accessSync,
  constants,
  createReadStream,
  mkdirSync,
  openSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const PASTE = '/etc/glance/glance-api-paste.ini';
const START_MS = 90_000;
const STOP_MS = 10_000;

export class PrivateGlance {
  #directory;
  #process;
  #exited;

  /** Why there can be none here; undefined where there can. */
  static obstacle() {
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

  /**
   * The directory exists, and is the caller's to remove. `under` are words before the command, for a network namespace
   * that has the address.
   */
  static async start(directory, { address = '127.0.0.1', under = [] } = {}) {
    const port = await freePort();
    const config = writeConfig(directory, address, port);
    await promisify(execFile)('glance-manage', ['--config-file', config, 'db_sync'], { timeout: START_MS });
    const output = openSync(join(directory, 'output.log'), 'w', 0o600);
    // A process group of its own: its workers end with it.
    const [program, ...words] = [...under, 'glance-api', '--config-file', config];
    const child = spawn(program, words, {
      cwd: directory,
      detached: true,
      stdio: ['ignore', output, output],
    });
    const glance = new PrivateGlance(`http://${address}:${port}`, directory, child);
    try {
      await glance.#untilItAnswers();
    } catch (error) {
      await glance.stop();
      throw error;
    }
    return glance;
  }

  constructor(url, directory, process) {
    this.url = url;
    this.#directory = directory;
    this.#process = process;
    this.#exited = new Promise((resolve) => process.once('exit', resolve));
  }

  /** Registers an image, with its data, a buffer or the path of a file, where there is some; gives its id. */
  async add(image, data) {
    const { id } = await this.#call('POST', '/v2/images', {
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(image),
    });
    if (data !== undefined) {
      await this.#call('PUT', `/v2/images/${id}/file`, {
        headers: { 'content-type': 'application/octet-stream' },
        body: typeof data === 'string' ? createReadStream(data) : data,
        duplex: 'half',
      });
    }
    return id;
  }

  async deactivate(id) {
    await this.#call('POST', `/v2/images/${id}/actions/deactivate`, {});
  }

  /** Where its store keeps the data. */
  file(id) {
    return join(this.#directory, 'images', id);
  }

  async stop() {
    const timer = setTimeout(() => this.#signal('SIGKILL'), STOP_MS);
    this.#signal('SIGTERM');
    await this.#exited;
    clearTimeout(timer);
  }

  /** At once, where nothing can be awaited. */
  kill() {
    this.#signal('SIGKILL');
  }

  async #untilItAnswers() {
    const end = performance.now() + START_MS;
    for (;;) {
      if (this.#process.exitCode !== null) throw new Error(`glance-api ended: ${this.#log()}`);
      if (performance.now() > end) throw new Error(`glance-api does not answer: ${this.#log()}`);
      const answers = await fetch(`${this.url}/healthcheck`).then(
        ({ ok }) => ok,
        () => false,
      );
      if (answers) return;
      await sleep(100);
    }
  }

  #signal(name) {
    const { pid, exitCode, signalCode } = this.#process;
    if (pid !== undefined && exitCode === null && signalCode === null) process.kill(-pid, name);
  }

  #log() {
    return readFileSync(join(this.#directory, 'output.log'), 'utf8').slice(-2000);
  }

  async #call(method, path, init) {
    const response = await fetch(`${this.url}${path}`, { ...init, method });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  }
}

/** Without a flavor the pipeline of the package asks nobody for a token. */
function writeConfig(directory, address, port) {
  for (const name of ['images', 'staging', 'tasks', 'lock'])
    mkdirSync(join(directory, name), { mode: 0o700 });
  const path = join(directory, 'glance-api.conf');
  writeFileSync(
    path,
    `[DEFAULT]
bind_host = ${address}
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

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}
