// The agent beside stock nova-compute on a real OpenStack control plane, in turns: results.json here, and a table.
// Usage: node benchmarks/openstack/run.mjs [ROUNDS]    OPENSTACK_RIG_SCRIPTS: the directory of the rig's scripts
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { busyShare, describeMachine } from '../lib/machine.mjs';
import { median } from '../lib/statistics.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));
const scripts = process.env.OPENSTACK_RIG_SCRIPTS ?? join(dirname(root), 'shared/openstack-rig');
const rigDirectory = process.env.OPENSTACK_RIG ?? '/var/tmp/openstack-rig';
const [rounds = '3'] = process.argv.slice(2);
const HOST = 'bench-node-compute';

const FIGURES = {
  bootSeconds: { name: 'POST to ACTIVE, s', goal: 0.36, of: (m) => m.boots.flatMap((boot) => boot.active_s) },
  burstSeconds: {
    name: 'burst of 8, last ACTIVE, s',
    goal: 1.8,
    of: (m) => m.bursts.map((burst) => burst.last_s),
  },
  bootCpuSeconds: { name: 'CPU of the agent a boot, s', goal: 0.08, of: (m) => m.agent_cpu_s_per_boot },
  deleteSeconds: { name: 'DELETE to gone, s', goal: 0.15, of: (m) => m.deletes },
  residentMb: { name: 'resident memory after it, MB', goal: 100, of: (m) => [m.residentMb] },
};

function rig(script, ...args) {
  return execFileSync(join(scripts, script), args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
}

function residentMb(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Math.round((Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) * 1024) / 1e6);
}

function measure(host, pid) {
  rig('wait-host.sh', host, '120');
  const line = rig(
    'measure.sh',
    '--host',
    host,
    '--pid',
    String(pid),
    '--boots',
    '5',
    '--burst',
    '8',
    '--bursts',
    '3',
  );
  const measured = { ...JSON.parse(line), residentMb: residentMb(pid) };
  if (measured.errors > 0) throw new Error(`${host}: ${measured.errors} servers did not become ACTIVE`);
  return measured;
}

function stock() {
  rig('compute-up.sh', 'libvirt');
  try {
    return measure(
      'rig-compute',
      Number(readFileSync(join(rigDirectory, 'run/compute-libvirt.pid'), 'utf8')),
    );
  } finally {
    rig('compute-down.sh', 'libvirt');
  }
}

async function ours(directory, config) {
  const log = join(directory, 'log');
  writeFileSync(log, '');
  const out = openSync(log, 'a');
  const args = ['agent', '--config', config];
  const agent = spawn(join(root, 'dist/cli/main.js'), args, { stdio: ['ignore', out, out] });
  const ended = new Promise((resolve) => agent.once('close', resolve));
  try {
    while (!readFileSync(log, 'utf8').includes('serves Nova')) {
      if (agent.exitCode !== null) throw new Error(readFileSync(log, 'utf8'));
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return measure(HOST, agent.pid);
  } finally {
    agent.kill('SIGTERM');
    await ended;
  }
}

/** As the rig's nova-compute is set up: QEMU without KVM, VNC on loopback. */
function writeConfig(directory) {
  const endpoints = JSON.parse(rig('endpoints.sh', '--json'));
  writeFileSync(join(directory, 'broker'), endpoints.OS_AMQP_URL, { mode: 0o600 });
  const node = {
    instancesPath: join(directory, 'instances'),
    allocationRatios: { cpu: 16 },
    driverOptions: { root: join(directory, 'root') },
  };
  const auth = { type: 'token', token: endpoints.OS_PLACEMENT_TOKEN };
  const lines = [
    `host: ${HOST}`,
    `broker: { url: !file ${join(directory, 'broker')} }`,
    `placement: ${JSON.stringify({ endpoint: endpoints.OS_PLACEMENT_URL, auth })}`,
    `images: ${JSON.stringify({ glance: { endpoints: [endpoints.OS_IMAGE_URL] } })}`,
    `node: ${JSON.stringify(node)}`,
    'reportIntervalMs: 3000',
    'monitor: { port: 0 }',
  ];
  const path = join(directory, 'agent.yaml');
  writeFileSync(path, `${lines.join('\n')}\n`);
  return path;
}

const figuresOf = (turns) =>
  Object.fromEntries(
    Object.entries(FIGURES).map(([key, { of }]) => {
      const values = turns.flatMap(of);
      return [key, { median: median(values), values }];
    }),
  );

rig('up.sh', '--fresh');
const directory = mkdtempSync(join(tmpdir(), 'nc-openstack-'));
try {
  chmodSync(directory, 0o711);
  const config = writeConfig(directory);
  const turns = { stock: [], ours: [] };
  const busyBefore = await busyShare();
  for (let round = 0; round < Number(rounds); round++) {
    turns.stock.push(stock());
    turns.ours.push(await ours(directory, config));
    console.log(`round ${round + 1} of ${rounds} is done`);
  }
  const result = {
    machine: describeMachine(),
    rounds: Number(rounds),
    busyBefore,
    novaCompute: figuresOf(turns.stock),
    nodeCompute: figuresOf(turns.ours),
  };
  writeFileSync(new URL('results.json', import.meta.url), `${JSON.stringify(result, null, 1)}\n`);
  console.log('| | nova-compute | node-compute | goal |\n|---|---|---|---|');
  for (const [key, { name, goal }] of Object.entries(FIGURES)) {
    const [theirs, own] = [result.novaCompute[key].median, result.nodeCompute[key].median];
    console.log(`| ${name} | ${theirs} | ${own} | ${goal} |`);
  }
} finally {
  rig('down.sh');
  rmSync(directory, { recursive: true, force: true });
}
