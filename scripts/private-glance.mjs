// A Glance of one's own: Debian's glance-api without Keystone, sqlite and image files in one directory.
import { execFile, execFileSync } from 'node:child_process';
import { accessSync, constants, createReadStream, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort, PrivateService } from './private-service.mjs';

const PASTE = '/etc/glance/glance-api-paste.ini';
const START_MS = 90_000;

export class PrivateGlance {
  #directory;
  #service;

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
   * The directory exists, and is the caller's to remove. On the port of an earlier one it goes on with what that had. `under` are words before the command, for a network namespace
   * that has the address.
   */
  static async start(directory, { address = '127.0.0.1', under = [], port: given } = {}) {
    const port = given ?? (await freePort());
    const config = writeConfig(directory, address, port);
    await promisify(execFile)('glance-manage', ['--config-file', config, 'db_sync'], { timeout: START_MS });
    const url = `http://${address}:${port}`;
    const service = await PrivateService.start({
      name: 'glance-api',
      args: ['--config-file', config],
      under,
      directory,
      url: `${url}/healthcheck`,
    });
    return new PrivateGlance(url, directory, service);
  }

  constructor(url, directory, service) {
    this.url = url;
    this.#directory = directory;
    this.#service = service;
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
    await this.#service.stop();
  }

  /** At once, where nothing can be awaited. */
  kill() {
    this.#service.kill();
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
    mkdirSync(join(directory, name), { mode: 0o700, recursive: true });
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
