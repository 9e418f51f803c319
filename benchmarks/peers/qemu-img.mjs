// qemu-img with its best flags, the floor of what is done to an image by a program of its own. Beyond the contract it
// takes `subcommand`, for `inspect`: info, which reads the header, or check, which reads the tables too; and `flags` and
// `format`, for `convert`. `copy` is no work of its, but the limit of `convert` to raw: cp of what it made.
import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cachedImages } from '../lib/cached-images.mjs';
import { repeat } from '../lib/repeat.mjs';

const {
  work,
  directory,
  image,
  base,
  subcommand,
  flags,
  format = 'raw',
  ...amount
} = JSON.parse(process.argv[2]);
const execute = promisify(execFile);
const qemuImg = (...words) => execute('qemu-img', words);
const raw = join(directory, 'base.raw');
const disk = join(directory, 'disk.qcow2');
const removeFiles = () => {
  for (const path of [raw, disk]) rmSync(path, { force: true });
};

try {
  console.log(JSON.stringify(await { launch, overlay, inspect, info, convert, copy, pass }[work]()));
} finally {
  removeFiles();
}

function createOverlay(on) {
  return qemuImg('create', '-q', '-f', 'qcow2', '-b', on, '-F', 'raw', disk, '1G');
}

/** The part of a cold launch that is the image's. */
async function launch() {
  const prepare = async () => {
    await qemuImg('convert', '-m', '16', '-W', '-f', 'qcow2', '-O', 'raw', image, raw);
    await createOverlay(raw);
  };
  const answer = await repeat('launch', prepare, { ...amount, undo: removeFiles });
  return { ...answer, steps: { image: answer.samples.launch } };
}

function overlay() {
  return repeat('overlay', () => createOverlay(base), { ...amount, undo: removeFiles });
}

function convert() {
  const operation = () => qemuImg('convert', ...flags, '-f', 'qcow2', '-O', format, image, raw);
  return repeat('convert', operation, { ...amount, undo: removeFiles });
}

async function copy() {
  await qemuImg('convert', '-f', 'qcow2', '-O', 'raw', image, raw);
  const operation = () => execute('cp', ['--reflink=never', raw, disk]);
  return repeat('copy', operation, { ...amount, undo: () => rmSync(disk, { force: true }) });
}

function inspect() {
  return repeat('inspect', () => qemuImg(subcommand, '-f', 'qcow2', '--output=json', image), amount);
}

/** As Nova: one process after the other. */
async function pass() {
  const { instances, disks } = cachedImages(directory, 50);
  try {
    const operation = async () => {
      for (const path of disks) {
        await execute('qemu-img', ['info', '--force-share', '-f', 'qcow2', '--output=json', path]);
      }
    };
    return await repeat('pass', operation, amount);
  } finally {
    rmSync(instances, { recursive: true });
  }
}

function info() {
  return repeat('info', () => qemuImg('info', '-f', 'qcow2', '--output=json', image), amount);
}
