// Programs and libraries: Node.js, the addon with libvirt and libqcow, QEMU, qemu-img, mkfs.
import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { searchPath } from '../../image/fenced-process.js';
import { MKFS } from '../../image/mkfs.js';
import { native } from '../../native.js';
import { type Finding, install, ok, problem, warning } from './check.js';

const run = promisify(execFile);
const LIBRARY_DIRECTORIES = ['/usr/lib', '/usr/lib64', '/usr/local/lib'];

export function checkNode(version: string = process.versions.node): Finding[] {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const recent = major > 20 || (major === 20 && minor >= 17);
  return recent
    ? [ok('node', `Node.js ${version}`)]
    : [
        problem(
          'node',
          `Node.js ${version} is too old: 20.17 or newer is needed`,
          'install it from https://nodejs.org',
        ),
      ];
}

export function checkAddon(): Finding[] {
  try {
    const addon = native();
    const libvirt = addon.libvirtVersion();
    const text = [libvirt / 1e6, (libvirt / 1e3) % 1e3, libvirt % 1e3].map(Math.floor).join('.');
    return [ok('libvirt', `libvirt ${text}`), ok('libqcow', `libqcow ${addon.libqcowVersion()}`)];
  } catch (error) {
    return [problem('addon', (error as Error).message)];
  }
}

/** The module is a package of its own: without it libvirt has no QEMU. */
export function checkQemuDriver(): Finding[] {
  const found = LIBRARY_DIRECTORIES.flatMap((directory) => [directory, ...subdirectories(directory)])
    .map((directory) => join(directory, 'libvirt/connection-driver'))
    .find((directory) => entries(directory).includes('libvirt_driver_qemu.so'));
  return found
    ? [ok('qemu driver', `${found}/libvirt_driver_qemu.so`)]
    : [
        problem(
          'qemu driver',
          "libvirt's QEMU driver is not installed",
          install('libvirt-daemon libvirt-daemon-driver-qemu', 'libvirt-daemon-driver-qemu'),
        ),
      ];
}

export async function checkQemu(): Promise<Finding[]> {
  const emulator = `qemu-system-${process.arch === 'x64' ? 'x86_64' : process.arch === 'arm64' ? 'aarch64' : process.arch}`;
  return [
    await program('qemu', emulator, install('qemu-system', 'qemu-kvm'), problem),
    // libvirt's, for snapshots inside an image; nothing here runs it.
    await program('qemu-img', 'qemu-img', install('qemu-utils', 'qemu-img'), warning),
  ];
}

/** For the ephemeral disks of flavors that have one. */
export function checkMkfs(path: string = searchPath()): Finding[] {
  return Object.entries(MKFS).map(([fileSystem, { program, package: name }]) => {
    const found = path.split(':').find((directory) => existsSync(join(directory, program)));
    return found === undefined
      ? warning(
          program,
          `${program} is not installed: no ephemeral disks with ${fileSystem}`,
          install(name, name),
        )
      : ok(program, join(found, program));
  });
}

async function program(
  check: string,
  name: string,
  mend: string,
  otherwise: typeof problem | typeof warning,
): Promise<Finding> {
  try {
    const { stdout } = await run(name, ['--version'], { timeout: 10_000 });
    return ok(check, stdout.split('\n')[0] ?? name);
  } catch (error) {
    return otherwise(check, `${name} does not run: ${(error as Error).message.split('\n')[0]}`, mend);
  }
}

function subdirectories(directory: string): string[] {
  return entries(directory)
    .filter((name) => name.includes('linux-gnu'))
    .map((name) => join(directory, name));
}

function entries(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
