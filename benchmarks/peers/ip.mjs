// Taps on a bridge by the programs that agents run. Beyond the contract it takes `tool`: `brctl`, three programs a tap; `ip`,
// two; `batch`, one ip for all.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { plugging } from '../lib/plugging.mjs';

const { work, tool, ...amount } = JSON.parse(process.argv[2]);
const execute = promisify(execFile);
if (work !== 'plug') throw new Error(`no work of ip: ${work}`);

const addTap = (name) => execute('ip', ['tuntap', 'add', name, 'mode', 'tap']);

async function brctl(bridge, taps) {
  for (const name of taps) {
    await addTap(name);
    await execute('brctl', ['addif', bridge, name]);
    await execute('ip', ['link', 'set', name, 'up']);
  }
}

async function ip(bridge, taps) {
  for (const name of taps) {
    await addTap(name);
    await execute('ip', ['link', 'set', name, 'master', bridge, 'up']);
  }
}

async function batch(bridge, taps) {
  const lines = taps.map((name) => `tuntap add ${name} mode tap\nlink set ${name} master ${bridge} up\n`);
  const running = execute('ip', ['-batch', '-']);
  running.child.stdin.end(lines.join(''));
  await running;
}

console.log(JSON.stringify(await plugging({ brctl, ip, batch }[tool], amount)));
