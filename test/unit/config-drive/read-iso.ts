// Reads an ISO 9660 image with what others wrote: libarchive's bsdtar for the files, libblkid for the label.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';

/** Which of the image's hierarchies is read. */
export type IsoNames = 'rockridge' | 'joliet' | 'plain';

/** Without an option bsdtar takes Joliet before Rock Ridge. */
const OPTIONS: Readonly<Record<IsoNames, string>> = {
  rockridge: '!joliet',
  joliet: '!rockridge',
  plain: '!joliet,!rockridge',
};

export const noReader: string | undefined =
  spawnSync('bsdtar', ['--version']).error === undefined
    ? undefined
    : 'bsdtar (package libarchive-tools) is missing';

/** Each file by its path. */
export function filesOfIso(image: Uint8Array, names: IsoNames): Map<string, Buffer> {
  const directory = mkdtempSync(join(tmpdir(), 'nct-iso-'));
  try {
    const iso = join(directory, 'image');
    const out = join(directory, 'files');
    writeFileSync(iso, image);
    mkdirSync(out);
    execFileSync('bsdtar', ['-xf', iso, '-C', out, '--options', OPTIONS[names]], { stdio: 'pipe' });
    const entries = readdirSync(out, { recursive: true, withFileTypes: true });
    return new Map(
      entries
        .filter((entry) => entry.isFile())
        .map(({ parentPath, name }) => join(parentPath, name))
        .map((path) => [relative(out, path), readFileSync(path)]),
    );
  } finally {
    rmSync(directory, { recursive: true });
  }
}

export function labelOfIso(image: Uint8Array): string {
  const directory = mkdtempSync(join(tmpdir(), 'nct-iso-'));
  try {
    const iso = join(directory, 'image');
    writeFileSync(iso, image);
    return execFileSync('/sbin/blkid', ['-p', '-o', 'value', '-s', 'LABEL', iso], {
      encoding: 'utf8',
    }).trim();
  } finally {
    rmSync(directory, { recursive: true });
  }
}
