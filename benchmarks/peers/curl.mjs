// An image from Glance as one does it by hand, and as Nova does it: curl, then sha512sum, then qemu-img, each when the one
// before has ended. Beyond the contract it takes `glance`, with the image's url there.
import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { repeat } from '../lib/repeat.mjs';

const { work, directory, glance, ...amount } = JSON.parse(process.argv[2]);
const execute = promisify(execFile);
const part = join(directory, 'part');
const base = join(directory, 'base');
const undo = () => {
  for (const path of [part, base]) rmSync(path, { force: true });
};

try {
  console.log(JSON.stringify(await { download, fetch }[work]()));
} finally {
  undo();
}

function curl() {
  return execute('curl', ['--silent', '--show-error', '--fail', '--output', part, glance.imageUrl]);
}

function download() {
  return repeat('download', curl, { ...amount, undo });
}

/** On the disk at the end, as with all who publish a base. */
function fetch() {
  const operation = async () => {
    await curl();
    await execute('sync', [part]);
    const { stdout } = await execute('sha512sum', [part]);
    if (!stdout.startsWith(glance.sha512)) throw new Error('the checksum does not match');
    await execute('qemu-img', ['convert', '-t', 'none', '-O', 'raw', '-f', 'qcow2', part, base]);
    rmSync(part);
    await execute('sync', [base]);
  };
  return repeat('fetch', operation, { ...amount, undo });
}
