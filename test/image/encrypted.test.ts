// Images that are encrypted by LUKS: refused, unless the secret is given; then the right bytes, and the secret nowhere else.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type ConvertImageOptions, convertImage, inspectImage, openDisk } from '../../src/index.js';
import { diskBytes, MIB, scratch, writeLuks, writeQcow2, writeRaw } from './fixtures.js';

const SECRET = 'correct horse battery staple \u00fc\n';
const formats = ['qcow2', 'luks'] as const;
type Format = (typeof formats)[number];

const disk = diskBytes();
const images = mkdtempSync(join(tmpdir(), 'node-compute-encrypted-'));
const pathOf = (format: Format): string => join(images, `image.${format}`);

beforeAll(() => {
  for (const format of formats) writeLuks(images, format, disk, SECRET);
});

afterAll(() => rmSync(images, { recursive: true, force: true }));

async function refused(
  path: string,
  format: Format | 'raw' | 'vmdk',
  options: Partial<ConvertImageOptions>,
): Promise<{ readonly code: string; readonly rule: unknown; readonly text: string }> {
  const target = join(scratch(), 'target');
  const layers = [{ path, format }] as Parameters<typeof convertImage>[0];
  const error = await convertImage(layers, target, { format: 'raw', ...options }).catch((reason) => reason);
  expect(readdirSync(join(target, '..'))).toEqual([]);
  return {
    code: error.code,
    rule: error.details?.rule,
    text: `${error.stack} ${JSON.stringify(error)} ${error.cause}`,
  };
}

describe.each(formats)('an encrypted image of the format %s', (format) => {
  it.each([
    ['raw', SECRET],
    ['raw', Buffer.from(SECRET)],
    ['qcow2', SECRET],
  ] as const)('is converted to %s with its secret', async (to, secret) => {
    const path = pathOf(format);
    const target = join(scratch(), 'target');
    const seen: number[] = [];
    const result = await convertImage([{ path, format }], target, {
      format: to,
      secret,
      compression: 'zlib',
      onProgress: (done) => seen.push(done),
    });
    expect(result.virtualSizeBytes).toBe(disk.length);
    expect(readdirSync(join(target, '..'))).toEqual(['target']);
    expect(Math.max(...seen)).toBe(disk.length);
    const raw = join(scratch(), 'raw');
    execFileSync('qemu-img', ['convert', '-f', to, '-O', 'raw', target, raw]);
    expect(readFileSync(raw).equals(disk)).toBe(true);
  });

  it('is refused without it, and by another one', async () => {
    const path = pathOf(format);
    expect(await refused(path, format, {})).toMatchObject({ code: 'IMAGE_UNACCEPTABLE', rule: 'encrypted' });
    await expect(inspectImage(path, { format })).rejects.toMatchObject({ details: { rule: 'encrypted' } });
    for (const secret of ['battery', SECRET.trimEnd()]) {
      for (const to of ['raw', 'qcow2'] as const) {
        const { text, ...error } = await refused(path, format, { secret, format: to });
        expect(error).toEqual({ code: 'IMAGE_UNACCEPTABLE', rule: 'wrong-secret' });
        expect(text).not.toContain(secret);
      }
    }
  });

  it('is inspected before qemu-img sees it', async () => {
    const path = pathOf(format);
    expect(await inspectImage(path, { format, encrypted: true })).toMatchObject({
      format,
      virtualSizeBytes: 8 * MIB,
    });
    expect(await refused(path, format, { secret: SECRET, maxVirtualBytes: MIB })).toMatchObject({
      rule: 'too-large',
    });
    const bytes = readFileSync(path);
    // The key of its first slot is nowhere.
    const header = bytes.indexOf('LUKS\xba\xbe', 0, 'latin1');
    bytes.writeUInt32BE(0xffffffff, header + 208 + 40);
    const damaged = join(scratch(), 'damaged');
    writeFileSync(damaged, bytes);
    expect(await refused(damaged, format, { secret: SECRET })).toMatchObject({ rule: 'header' });
  });

  it('keeps its secret out of arguments, environment and files', async () => {
    const path = pathOf(format);
    const directory = scratch();
    const seen = join(directory, 'seen');
    const shim = join(directory, 'qemu-img');
    const real = execFileSync('sh', ['-c', 'command -v qemu-img'], { encoding: 'utf8' }).trim();
    writeFileSync(
      shim,
      `#!/bin/sh\n{ echo "$@"; tr '\\0' '\\n' < /proc/self/environ; readlink /proc/self/fd/5; } > ${seen}\nexec ${real} "$@"\n`,
    );
    chmodSync(shim, 0o755);
    const before = process.env['PATH'];
    onTestFinished(() => {
      process.env['PATH'] = before;
    });
    process.env['PATH'] = `${directory}:${before}`;
    const target = join(scratch(), 'target');
    await convertImage([{ path, format }], target, { format: 'raw', secret: SECRET });
    expect(readFileSync(target).equals(disk)).toBe(true);
    const text = readFileSync(seen, 'utf8');
    expect(text).toContain('--object secret,id=secret,file=/dev/fd/5');
    expect(text).toContain('memfd:secret');
    expect(text).not.toContain('horse');
    const open = readdirSync('/proc/self/fd').map(linkOf);
    expect(open.filter((name) => name.includes('memfd:secret'))).toEqual([]);
  });
});

/** The descriptor of the listing itself is gone by now. */
function linkOf(descriptor: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${descriptor}`);
  } catch {
    return '';
  }
}

describe('a secret', () => {
  it('is for what is encrypted by LUKS', async () => {
    const plain = writeQcow2(scratch(), diskBytes());
    expect(await refused(plain, 'qcow2', { secret: SECRET })).toMatchObject({ rule: 'not-encrypted' });
    expect(await refused(plain, 'luks', { secret: SECRET })).toMatchObject({ rule: 'format-mismatch' });
    const aes = join(scratch(), 'aes');
    execFileSync('qemu-img', [
      ...['create', '-q', '-f', 'qcow2', '--object', 'secret,id=s,data=secret'],
      ...['-o', 'encrypt.format=aes,encrypt.key-secret=s', aes, '1M'],
    ]);
    expect(await refused(aes, 'qcow2', { secret: 'secret' })).toMatchObject({ rule: 'encrypted' });
  });

  it('is for one image of a format that has one', async () => {
    const raw = writeRaw(scratch(), diskBytes());
    for (const format of ['raw', 'vmdk'] as const) {
      expect(await refused(raw, format, { secret: SECRET })).toMatchObject({ code: 'INVALID_ARGUMENT' });
    }
    const chain = [
      { path: raw, format: 'qcow2' },
      { path: raw, format: 'raw' },
    ] as const;
    await expect(
      convertImage(chain, join(scratch(), 'target'), { format: 'raw', secret: SECRET }),
    ).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it.each([
    ['nothing', ''],
    ['with a NUL', 'se\0cret'],
    ['that is not UTF-8', Buffer.from([0x73, 0xff])],
    ['of more than 8 KiB', 'x'.repeat(8193)],
  ])('%s is an invalid argument', async (_name, secret) => {
    const error = await refused('/nowhere', 'luks', { secret });
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', rule: undefined });
  });

  it('does not open a disk, whose images are read in this process', async () => {
    await expect(openDisk([{ path: pathOf('qcow2'), format: 'qcow2' }])).rejects.toMatchObject({
      details: { rule: 'encrypted' },
    });
  });

  it('opens what other ciphers and other clusters make, snapshots with it', async () => {
    const options =
      ',encrypt.cipher-alg=aes-128,encrypt.hash-alg=sha512,cluster_size=16k,extended_l2=on,refcount_bits=64';
    const path = writeLuks(scratch(), 'qcow2', disk, SECRET, options);
    execFileSync('qemu-img', [
      ...['snapshot', '-c', 'one', '--object', `secret,id=s,file=${join(path, '../secret')}`],
      ...['--image-opts', `driver=qcow2,encrypt.key-secret=s,file.filename=${path}`],
    ]);
    const target = join(scratch(), 'target');
    await convertImage([{ path, format: 'qcow2' }], target, { format: 'raw', secret: SECRET });
    expect(readFileSync(target).equals(disk)).toBe(true);
  });

  it('of a conversion that is aborted leaves nothing', async () => {
    const path = pathOf('luks');
    const target = join(scratch(), 'target');
    const controller = new AbortController();
    const conversion = convertImage([{ path, format: 'luks' }], target, {
      format: 'raw',
      secret: SECRET,
      signal: controller.signal,
    });
    const rejection = expect(conversion).rejects.toMatchObject({ code: 'ABORTED' });
    while (!existsSync(target)) await new Promise((resolve) => setImmediate(resolve));
    controller.abort();
    await rejection;
    expect(existsSync(target)).toBe(false);
  });

  it('is given to the command line in a file', () => {
    const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
    const target = join(scratch(), 'target');
    const run = (...more: string[]): { readonly status: number | null; readonly value: unknown } => {
      const words = ['image', 'convert', pathOf('luks'), target, '--from', 'luks', '--json', ...more];
      const { status, stdout } = spawnSync(process.execPath, [main, ...words], { encoding: 'utf8' });
      return { status, value: JSON.parse(stdout) };
    };
    expect(run()).toMatchObject({ status: 1, value: { error: { details: { rule: 'encrypted' } } } });
    expect(run('--secret-file', join(images, 'nothing')).status).toBe(2);
    expect(existsSync(target)).toBe(false);
    expect(run('--secret-file', join(images, 'secret'))).toMatchObject({
      status: 0,
      value: { ok: true, path: target, virtualSizeBytes: disk.length },
    });
    expect(readFileSync(target).equals(disk)).toBe(true);
  });
});
