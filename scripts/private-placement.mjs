// A Placement of one's own: Debian's placement-api on 127.0.0.1 without Keystone, sqlite in one directory.
import { execFile, execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort, PrivateService } from './private-service.mjs';

const SYNC_MS = 90_000;
const VERSION = 'placement 1.38';

export class PrivatePlacement {
  #service;

  /** Why there can be none here; undefined where there can. */
  static obstacle() {
    try {
      execFileSync('sh', ['-c', 'command -v placement-api && command -v placement-manage']);
      return undefined;
    } catch {
      return 'needs placement-api (apt-get install --no-install-recommends placement-api)';
    }
  }

  /** The directory exists, and is the caller's to remove. On the port of an earlier one it goes on with what that had. */
  static async start(directory, port) {
    const listen = port ?? (await freePort());
    const config = writeConfig(directory);
    await promisify(execFile)('placement-manage', ['--config-file', config, 'db', 'sync'], {
      timeout: SYNC_MS,
    });
    const url = `http://127.0.0.1:${listen}`;
    const service = await PrivateService.start({
      name: 'placement-api',
      args: ['--host', '127.0.0.1', '--port', String(listen)],
      directory,
      env: { OS_PLACEMENT_CONFIG_DIR: directory },
      url,
    });
    return new PrivatePlacement(url, service);
  }

  constructor(url, service) {
    this.url = url;
    this.#service = service;
  }

  /** As an administrator: noauth2 takes any token, `admin` for one of such rights. */
  get token() {
    return 'admin';
  }

  /** The answer's body; throws for a status that is no success. */
  async call(method, path, body) {
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers: {
        'x-auth-token': this.token,
        'openstack-api-version': VERSION,
        accept: 'application/json',
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  }

  async stop() {
    await this.#service.stop();
  }
}

function writeConfig(directory) {
  const path = join(directory, 'placement.conf');
  writeFileSync(
    path,
    `[DEFAULT]
log_file = ${directory}/placement.log
[api]
auth_strategy = noauth2
[placement_database]
connection = sqlite:///${directory}/placement.sqlite
sync_on_startup = True
[oslo_policy]
enforce_scope = False
enforce_new_defaults = False
`,
    { mode: 0o600 },
  );
  return path;
}
