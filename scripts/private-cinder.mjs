// A Cinder of one's own: Debian's, on 127.0.0.1 without Keystone and Nova, sqlite and volumes in one directory.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort, PrivateService } from './private-service.mjs';

const SCRIPTS = fileURLToPath(new URL('.', import.meta.url));
// Debian's, whatever stands first in the path.
const PYTHON = '/usr/bin/python3';
const STORAGE_MS = 60_000;
const EXPORT = '127.0.0.1:/volumes';

export class PrivateCinder {
  #service;

  /** Why there can be none here; undefined where there can. */
  static obstacle() {
    try {
      execFileSync(PYTHON, ['-c', "import importlib.util as i; assert i.find_spec('cinder')"], {
        stdio: 'ignore',
      });
      return undefined;
    } catch {
      return 'needs Cinder (apt-get install --no-install-recommends python3-cinder)';
    }
  }

  /** The directory exists, is to be reached by QEMU's user, and is the caller's to remove. */
  static async start(directory) {
    const port = await freePort();
    const mountBase = join(directory, 'mnt');
    // As if its export were mounted, by the name that Nova gives that.
    const files = join(mountBase, createHash('md5').update(EXPORT).digest('hex'));
    mkdirSync(files, { recursive: true, mode: 0o711 });
    const config = writeConfig(directory, port, files);
    const url = `http://127.0.0.1:${port}`;
    const service = await PrivateService.start({
      name: PYTHON,
      args: ['-m', 'private_cinder', '--config-file', config],
      directory,
      env: { PYTHONPATH: SCRIPTS, PYTHONDONTWRITEBYTECODE: '1' },
      url: `${url}/healthcheck`,
    });
    const cinder = new PrivateCinder(url, mountBase, service);
    try {
      await cinder.#untilItHasStorage();
    } catch (error) {
      await cinder.stop();
      throw error;
    }
    return cinder;
  }

  constructor(url, mountBase, service) {
    /** Root of the API. */
    this.url = `${url}/v3`;
    /** Below which its volumes are. */
    this.mountBase = mountBase;
    this.#service = service;
  }

  /** The answer's body; throws for a status that is no success. As a user of the project, and as Nova's service. */
  async call(method, path, body) {
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers: {
        'content-type': 'application/json',
        'openstack-api-version': 'volume 3.44',
        'x-auth-token': 'admin:demo',
        'x-service-token': 'admin:demo',
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  }

  /** The scheduler hears of the backend when that has told it. */
  async #untilItHasStorage() {
    const end = performance.now() + STORAGE_MS;
    while ((await this.call('GET', '/scheduler-stats/get_pools')).pools.length === 0) {
      if (performance.now() > end) throw new Error('cinder-volume tells its scheduler of no storage');
      await sleep(100);
    }
  }

  async stop() {
    await this.#service.stop();
    // Of volumes that are still attached.
    const loops = execFileSync('losetup', ['--list', '--noheadings', '--output', 'NAME,BACK-FILE'], {
      encoding: 'utf8',
    });
    for (const [name, file] of loops.split('\n').map((line) => line.split(/\s+/))) {
      if (file?.startsWith(`${this.mountBase}/`)) execFileSync('losetup', ['--detach', name]);
    }
  }
}

function writeConfig(directory, port, files) {
  const path = join(directory, 'cinder.conf');
  const paste = join(directory, 'api-paste.ini');
  writeFileSync(
    paste,
    `[composite:osapi_volume]
use = egg:Paste#urlmap
/healthcheck: healthcheck
/v3: v3

[pipeline:v3]
pipeline = request_id faultwrap servicerole noauth apiv3

[filter:request_id]
paste.filter_factory = cinder.api.middleware.request_id:RequestId.factory

[filter:faultwrap]
paste.filter_factory = cinder.api.middleware.fault:FaultWrapper.factory

[filter:servicerole]
paste.filter_factory = private_cinder:ServiceRole.factory

[filter:noauth]
paste.filter_factory = cinder.api.middleware.auth:NoAuthMiddleware.factory

[app:apiv3]
paste.app_factory = cinder.api.v3.router:APIRouter.factory

[app:healthcheck]
paste.app_factory = oslo_middleware:Healthcheck.app_factory
`,
  );
  writeFileSync(
    path,
    `[DEFAULT]
host = private
auth_strategy = noauth
api_paste_config = ${paste}
osapi_volume_listen = 127.0.0.1
osapi_volume_listen_port = ${port}
state_path = ${directory}
transport_url = fake://
enabled_backends = files
[files]
volume_driver = private_cinder.FileDriver
files_directory = ${files}
files_export = ${EXPORT}
[database]
connection = sqlite:///${join(directory, 'cinder.sqlite')}
[oslo_concurrency]
lock_path = ${directory}
[coordination]
backend_url = file://${directory}
`,
    { mode: 0o600 },
  );
  return path;
}
