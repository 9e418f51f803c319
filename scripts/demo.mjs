// The demo: two instances of one image on this machine, from claim to BOOTED, and nothing left of them afterwards.
// Usage: node scripts/demo.mjs [--driver embedded|daemon]      (make demo sets everything up first)
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { stepTable } from '../dist/cli/step-table.js';
import { ComputeNode } from '../dist/index.js';
import { PrivateLibvirtd } from './private-libvirtd.mjs';

const { values } = parseArgs({ options: { driver: { type: 'string', default: 'embedded' } } });
if (!['embedded', 'daemon'].includes(values.driver)) {
  console.error(`--driver is embedded or daemon, not ${values.driver}`);
  process.exit(2);
}

const image = join(dirname(dirname(fileURLToPath(import.meta.url))), 'build/guest/guest.qcow2');
const bridge = 'br-nc-demo';
const BOOT_TIMEOUT_MS = 120_000;

const directory = mkdtempSync(join(tmpdir(), 'nc-demo-'));
// QEMU's own user must get through.
chmodSync(directory, 0o711);
const instancesPath = join(directory, 'instances');

const say = (text = '') => console.log(text);
const heading = (text) => say(`\n== ${text}`);

async function openNode() {
  if (values.driver === 'embedded') {
    say('libvirt: embedded in this process');
    const driverOptions = { root: join(directory, 'root') };
    return { node: await ComputeNode.open({ instancesPath, driverOptions, logger }) };
  }
  say('libvirt: starting a private libvirtd');
  const daemon = await PrivateLibvirtd.start(join(directory, 'd'));
  try {
    return {
      daemon,
      node: await ComputeNode.open({ instancesPath, driverOptions: { uri: daemon.uri }, logger }),
    };
  } catch (error) {
    daemon.stop();
    throw error;
  }
}

/** The log of each step as an agent would see it; debug lines are left out. */
const logger = {
  debug() {},
  info: (message) => say(`   ${message}`),
  warn: (message, fields) => say(`   note: ${message}${fields?.reason ? `: ${fields.reason}` : ''}`),
  error: (message, fields) => say(`   error: ${message} ${JSON.stringify(fields ?? {})}`),
};

function showReport(report) {
  const line = (name, { used, limit, total }) =>
    `   ${name.padEnd(10)} ${used} claimed of ${limit} (host has ${total})`;
  say(
    `   ${report.hypervisorType} on ${report.hypervisorHostname}, ${report.runningInstances} instances running`,
  );
  say(line('vCPUs', report.vcpus));
  say(line('memory MB', report.memoryMb));
  say(line('disk GB', report.diskGb));
}

async function launch(node, name) {
  let shown = '';
  const result = await node.launch(
    {
      name,
      flavor: { vcpus: 1, memoryMb: 128, rootGb: 1 },
      image: { id: 'demo-guest', name: 'guest', diskFormat: 'qcow2', source: { type: 'file', path: image } },
      networks: [{ bridge }],
    },
    {
      onProgress: ({ activity }) => {
        if (activity !== shown) say(`   ... ${activity}`);
        shown = activity;
      },
    },
  );
  say(stepTable(result));
  return result.instance;
}

async function booted(node, { uuid, name }) {
  const begin = performance.now();
  const end = begin + BOOT_TIMEOUT_MS;
  while (performance.now() < end) {
    const text = new TextDecoder().decode(await node.console(uuid));
    const line = /^.*"event":"BOOTED".*(?=\r?\n)/m.exec(text);
    if (line !== null) {
      say(`   ${((performance.now() - begin) / 1000).toFixed(1)} s later the guest says:`);
      say(`   ${line[0].trim()}`);
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(
    `${name} did not boot within ${BOOT_TIMEOUT_MS / 1000} s; its console: ${instancesPath}/${uuid}/console.log`,
  );
}

/** Looks at the host itself, not at what the library believes. */
function leftovers() {
  const commands = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      } catch {
        return '';
      }
    });
  return [
    ...commands
      .filter((text) => text.includes('qemu-system') && text.includes(instancesPath))
      .map(() => 'a QEMU process'),
    ...(existsSync(`/sys/class/net/${bridge}`) ? [`the bridge ${bridge}`] : []),
    ...readdirSync(instancesPath).filter((name) => /^[0-9a-f]{8}-/.test(name)),
  ];
}

async function show(node, daemon) {
  heading('The node before');
  showReport(await node.report());

  heading('First instance: the image is fetched and converted');
  const first = await launch(node, 'first');
  await booted(node, first);

  heading('Second instance of the same image: no download');
  const second = await launch(node, 'second');
  await booted(node, second);

  heading('The node now');
  showReport(await node.report());
  if (daemon) {
    heading('virsh list');
    say(daemon.virsh('list').trimEnd());
  }

  heading('Terminating both');
  await Promise.all([first, second].map(({ uuid }) => node.terminate(uuid)));
  showReport(await node.report());
  if (daemon) say(daemon.virsh('list', '--all').trimEnd());
  const left = [...(await node.list()).map(({ name }) => name), ...leftovers()];
  if (left.length > 0) throw new Error(`left: ${left.join(', ')}`);
  say('\nnothing left: no domain, no process, no tap or bridge, no file, no claim');
}

async function endAll(node) {
  for (const { uuid } of await node.list()) await node.terminate(uuid);
}

let opened;
try {
  opened = await openNode();
  await show(opened.node, opened.daemon);
} catch (error) {
  console.error(`\ndemo failed: ${error.message}`);
  process.exitCode = 1;
  if (opened) await endAll(opened.node).catch((failure) => console.error(failure.message));
} finally {
  await opened?.node.close();
  opened?.daemon?.stop();
  rmSync(directory, { recursive: true, force: true });
}
