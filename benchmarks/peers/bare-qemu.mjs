// The floor: QEMU itself with the same devices, from spawn to the answer to qmp_capabilities. No libvirt, no sandboxing
// by a parent, no user change; the overlay is made beforehand.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { meter } from '../lib/peer.mjs';

const { directory, command, count, warmup, base } = JSON.parse(process.argv[2]);
const socket = join(directory, 'q');
const disk = join(directory, 'bare.qcow2');

const argv = bareArguments(command);
execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', base, '-F', 'raw', disk, '1G']);
const launch = [];
let usage = meter();
try {
  for (let i = 0; i < warmup + count; i += 1) {
    if (i === warmup) usage = meter();
    const took = await start();
    if (i >= warmup) launch.push(took);
  }
} finally {
  rmSync(disk);
}
console.log(JSON.stringify({ samples: { launch }, ...usage() }));

async function start() {
  rmSync(socket, { force: true });
  const begin = performance.now();
  const child = spawn(argv[0], argv.slice(1), { stdio: 'ignore' });
  const ended = new Promise((resolve) => child.on('close', resolve));
  try {
    await qmpReady(child);
    return performance.now() - begin;
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
}

/** Resolves with the answer to qmp_capabilities. */
async function qmpReady(child) {
  while (!existsSync(socket)) {
    if (child.exitCode !== null) throw new Error(`QEMU ended with status ${child.exitCode}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await new Promise((resolve, reject) => {
    const connection = connect(socket);
    connection.on('error', reject);
    connection.on('data', (data) => {
      if (data.includes('"QMP"')) connection.write('{"execute":"qmp_capabilities"}\n');
      if (data.includes('"return"')) {
        connection.destroy();
        resolve();
      }
    });
  });
}

/** libvirt's command line less what only libvirt can pass: descriptors, its secret, its paths. */
function bareArguments(log) {
  const text = /(\/\S*qemu-system-\S+ \\\n[\s\S]*?)(?=\n\d{4}-\d\d-\d\d|\nchar device|$)/.exec(log)[1];
  const words = [...text.replaceAll('\\\n', ' ').matchAll(/'([^']*)'|(\S+)/g)].map(
    (match) => match[1] ?? match[2],
  );
  const result = [words[0]];
  for (let i = 1; i < words.length; i += 1) {
    const flag = words[i];
    const value = words[i + 1] ?? '';
    const pair = (replacement) => {
      if (replacement !== undefined) result.push(flag, replacement);
      i += 1;
    };
    if (flag === '-add-fd' || (flag === '-object' && value.includes('masterKey0'))) pair(undefined);
    else if (value.startsWith('socket,id=charmonitor'))
      pair(`socket,id=charmonitor,path=${socket},server=on,wait=off`);
    else if (value.startsWith('pty,id=charserial0')) {
      pair(`pty,id=charserial0,logfile=${join(directory, 'bare.log')},logappend=on`);
    } else if (flag === '-blockdev') pair(value.replace(/"filename":"[^"]*\/(_base\/[^"]*|disk)"/, diskName));
    else result.push(flag);
  }
  return result;
}

function diskName(_whole, name) {
  return `"filename":"${name === 'disk' ? disk : base}"`;
}
