// The floor: QEMU itself with the same devices, from spawn to the answer to qmp_capabilities. No libvirt, no sandboxing
// by a parent, no user change; the overlays are made beforehand. Beyond the contract it takes `running`: the guest is
// then let go, and the answer to cont is waited for.
import { execFileSync, spawn } from 'node:child_process';
import { copyFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { meter } from '../lib/peer.mjs';

const { directory, command, count, warmup, base, concurrency = 1, running } = JSON.parse(process.argv[2]);
const questions = ['qmp_capabilities', ...(running ? ['cont'] : [])];
const words = bareWords(command);
/** The files of each instance that lives at once with others. */
const places = Array.from({ length: concurrency > 1 ? count : 1 }, (_, at) => ({
  disk: join(directory, `bare-${at}.qcow2`),
  log: join(directory, `bare-${at}.log`),
}));
const living = new Set();

try {
  const [{ disk }, ...others] = places;
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', base, '-F', 'raw', disk, '1G']);
  for (const other of others) copyFileSync(disk, other.disk);
  for (let i = 0; i < warmup; i += 1) await one();
  console.log(JSON.stringify(await (concurrency > 1 ? atOnce() : oneByOne())));
} finally {
  await endAll();
  for (const { disk, log } of places) for (const path of [disk, log]) rmSync(path, { force: true });
}

async function oneByOne() {
  const launch = [];
  const usage = meter();
  for (let i = 0; i < count; i += 1) launch.push(await one());
  return { samples: { launch }, ...usage(), seconds: launch.reduce((sum, ms) => sum + ms, 0) / 1000 };
}

async function one() {
  const begin = performance.now();
  await start(places[0]);
  const ms = performance.now() - begin;
  await endAll();
  return ms;
}

async function atOnce() {
  const launch = [];
  const waiting = [...places];
  const usage = meter();
  const begin = performance.now();
  const worker = async () => {
    for (let place = waiting.shift(); place; place = waiting.shift()) {
      await start(place);
      launch.push(performance.now() - begin);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  return { samples: { launch }, ...usage() };
}

async function start({ disk, log }) {
  const [program, ...args] = words.map((word) => word.replace('@DISK@', disk).replace('@LOG@', log));
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit', 'pipe'] });
  const ended = new Promise((resolve) => child.on('close', resolve));
  living.add({ child, ended });
  const early = ended.then((code) => Promise.reject(new Error(`QEMU ended with status ${code}`)));
  await Promise.race([answers(child.stdio[3]), early]);
}

async function endAll() {
  for (const { child } of living) child.kill('SIGKILL');
  await Promise.all([...living].map(({ ended }) => ended));
  living.clear();
}

/** Asks the questions one after the other. QEMU is at the other end of a socket pair: nobody has to look for it. */
function answers(monitor) {
  const asked = questions.values();
  return new Promise((resolve, reject) => {
    monitor.on('error', reject);
    monitor.on('data', (data) => {
      if (!data.includes('"QMP"') && !data.includes('"return"')) return;
      const { value, done } = asked.next();
      if (done) resolve();
      else monitor.write(`{"execute":"${value}"}\n`);
    });
  });
}

/** libvirt's command line less what only libvirt can pass: descriptors, its secret, its paths. */
function bareWords(log) {
  const text = /(\/\S*qemu-system-\S+ \\\n[\s\S]*?)(?=\n\d{4}-\d\d-\d\d|\nchar device|$)/.exec(log)[1];
  const given = [...text.replaceAll('\\\n', ' ').matchAll(/'([^']*)'|(\S+)/g)].map(
    (match) => match[1] ?? match[2],
  );
  const result = [given[0]];
  for (let i = 1; i < given.length; i += 1) {
    const flag = given[i];
    const value = given[i + 1] ?? '';
    const pair = (replacement) => {
      if (replacement !== undefined) result.push(flag, replacement);
      i += 1;
    };
    if (flag === '-add-fd' || (flag === '-object' && value.includes('masterKey0'))) pair(undefined);
    else if (value.startsWith('socket,id=charmonitor')) pair('socket,id=charmonitor,fd=3');
    else if (value.startsWith('pty,id=charserial0')) pair('pty,id=charserial0,logfile=@LOG@,logappend=on');
    // The first free port from there on, up to 65535: two at once would meet.
    else if (flag === '-vnc') pair(value.replace(/:\d+/, '$&,to=59635'));
    else if (flag === '-blockdev') pair(value.replace(/"filename":"[^"]*\/(_base\/[^"]*|disk)"/, diskName));
    else result.push(flag);
  }
  return result;
}

function diskName(_whole, name) {
  return `"filename":"${name === 'disk' ? '@DISK@' : base}"`;
}
