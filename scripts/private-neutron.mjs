// A Neutron of one's own: Debian's neutron-server on 127.0.0.1 without Keystone, sqlite in one directory, agents by name alone.
import { execFile, execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort, PrivateService } from './private-service.mjs';

const PREPARE_MS = 90_000;
// Debian's, whatever stands first in the path.
const PYTHON = '/usr/bin/python3';

// Neutron's migrations know no sqlite, its models do.
const PREPARE = `
import datetime, json, sqlalchemy, sqlite3, sys, uuid
from neutron.db.migration.models import head
head.get_metadata().create_all(sqlalchemy.create_engine('sqlite:///' + sys.argv[1]))
now = str(datetime.datetime.utcnow())
kinds = {
  'bridge': ('Linux bridge agent', 'neutron-linuxbridge-agent', {'interface_mappings': {}}),
  'ovs': ('Open vSwitch agent', 'neutron-openvswitch-agent', {'integration_bridge': 'br-int'}),
}
with sqlite3.connect(sys.argv[1]) as database:
  for host, kind in json.loads(sys.argv[2]).items():
    name, binary, more = kinds[kind]
    facts = json.dumps({'tunnel_types': ['vxlan'], 'tunneling_ip': '127.0.0.1', 'bridge_mappings': {}, **more})
    database.execute(
      'insert into agents (id, agent_type, binary, topic, host, admin_state_up, created_at, started_at,'
      ' heartbeat_timestamp, configurations, load) values (?, ?, ?, ?, ?, 1, ?, ?, ?, ?, 0)',
      (str(uuid.uuid4()), name, binary, 'N/A', host, now, now, now, facts))
`;

const PLUG = `
import sqlite3, sys
with sqlite3.connect(sys.argv[1], timeout=30) as database:
  database.execute("update ports set status = 'ACTIVE' where id = ?", (sys.argv[2],))
`;

export class PrivateNeutron {
  #service;
  #database;

  /** Why there can be none here; undefined where there can. */
  static obstacle() {
    try {
      execFileSync('sh', ['-c', 'command -v neutron-server']);
      return undefined;
    } catch {
      return 'needs neutron-server (apt-get install --no-install-recommends neutron-server)';
    }
  }

  /** The directory exists, and is the caller's to remove. `agents` are those that Neutron believes in: `bridge` or `ovs`, by host. */
  static async start(directory, agents) {
    const port = await freePort();
    const config = writeConfig(directory, port);
    const database = databaseOf(directory);
    await python(PREPARE, database, JSON.stringify(agents));
    const url = `http://127.0.0.1:${port}`;
    const service = await PrivateService.start({
      name: 'neutron-server',
      args: ['--config-file', config],
      directory,
      env: {},
      url: `${url}/v2.0/extensions`,
    });
    return new PrivateNeutron(url, service, database);
  }

  constructor(url, service, database) {
    this.url = url;
    this.#service = service;
    this.#database = database;
  }

  /** The answer's body; throws for a status that is no success. */
  async call(method, path, body) {
    const response = await fetch(`${this.url}/v2.0${path}`, {
      method,
      headers: { 'content-type': 'application/json' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  }

  /** As the agent of its host would say; nobody is told. */
  async plug(portId) {
    await python(PLUG, this.#database, portId);
  }

  async stop() {
    await this.#service.stop();
  }
}

async function python(program, ...args) {
  await promisify(execFile)(PYTHON, ['-c', program, ...args], { timeout: PREPARE_MS });
}

function databaseOf(directory) {
  return join(directory, 'neutron.sqlite');
}

function writeConfig(directory, port) {
  const path = join(directory, 'neutron.conf');
  const paste = join(directory, 'api-paste.ini');
  writeFileSync(
    paste,
    `[composite:neutron]
use = egg:Paste#urlmap
/v2.0: api

[composite:api]
use = call:neutron.auth:pipeline_factory
noauth = extensions api_v2

[filter:extensions]
paste.filter_factory = neutron.api.extensions:plugin_aware_extension_middleware_factory

[app:api_v2]
paste.app_factory = neutron.api.v2.router:APIRouter.factory
`,
  );
  writeFileSync(
    path,
    `[DEFAULT]
bind_host = 127.0.0.1
bind_port = ${port}
auth_strategy = noauth
api_paste_config = ${paste}
core_plugin = ml2
service_plugins = router,auto_allocate
api_workers = 0
rpc_workers = 0
rpc_state_report_workers = 0
state_path = ${directory}
dns_domain = example.org.
transport_url = fake://
notify_nova_on_port_status_changes = False
notify_nova_on_port_data_changes = False
dhcp_agent_notification = False
agent_down_time = 100000000
[database]
connection = sqlite:///${databaseOf(directory)}
[oslo_concurrency]
lock_path = ${directory}
[ml2]
type_drivers = vxlan
tenant_network_types = vxlan
mechanism_drivers = linuxbridge,openvswitch
extension_drivers = port_security,dns
[ml2_type_vxlan]
vni_ranges = 1:1000
[experimental]
linuxbridge = true
`,
    { mode: 0o600 },
  );
  return path;
}
