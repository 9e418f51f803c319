// Ports of VNC for each libvirt of a host: no two of them begin at the same number.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Blocks of ports: `first`, `first + size`, and so on. */
export interface PortBlocks {
  readonly first: number;
  readonly size: number;
  readonly blocks: number;
}

const CLAIMS = '/run/node-compute/vnc';

/**
 * The first port of a block that no other living process of this host has, for the libvirt whose files lie in `directory`; the
 * same one again after a restart, where it is free. Without the right to write below /run the block is only likely to be its own.
 * libvirt looks for a free port and QEMU takes it a moment later: two that begin at the same number at times choose the same.
 */
export function claimPorts(directory: string, { first, size, blocks }: PortBlocks): number {
  const start = createHash('sha1').update(directory).digest().readUInt32BE() % blocks;
  for (let n = 0; n < blocks; n++) {
    const port = first + size * ((start + n) % blocks);
    if (claim(port, directory)) return port;
  }
  return first + size * start;
}

function claim(port: number, directory: string): boolean {
  const file = join(CLAIMS, String(port));
  const line = `${process.pid} ${directory}\n`;
  try {
    mkdirSync(CLAIMS, { recursive: true, mode: 0o711 });
    const holder = readClaim(file);
    if (holder && holder.directory !== directory && isAlive(holder.pid)) return false;
    // Exclusive where there is none, so that of two processes that start together one goes on to the next block.
    writeFileSync(file, line, { flag: holder ? 'w' : 'wx', mode: 0o644 });
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'EEXIST';
  }
}

function readClaim(file: string): { readonly pid: number; readonly directory: string } | undefined {
  try {
    const [, pid, directory] = /^(\d+) (.*)\n$/.exec(readFileSync(file, 'utf8')) ?? [];
    return { pid: Number(pid ?? 0), directory: directory ?? '' };
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    return pid > 0 && process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
