// Images of a real Glance: what it declares of them, their bytes, and what it has without bytes.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { PrivateGlance } from '../../scripts/private-glance.mjs';
import { ComputeError } from '../../src/driver/errors.js';
import { GlanceImageService } from '../../src/image/glance-service.js';
import { digest, diskBytes, MIB, noise, openCache, read, scratch, writeQcow2 } from './fixtures.js';

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const ANY_SIZE = { flavorRootBytes: 0 };
const obstacle = PrivateGlance.obstacle();
const directory = mkdtempSync(join(tmpdir(), 'node-compute-glance-'));
let glance: PrivateGlance;
let service: GlanceImageService;

beforeAll(async () => {
  if (obstacle) return;
  glance = await PrivateGlance.start(directory);
  service = new GlanceImageService({ endpoints: [glance.url] });
});

beforeEach(({ skip }) => skip(obstacle !== undefined, obstacle));

afterAll(async () => {
  await service?.close();
  await glance?.stop();
  rmSync(directory, { recursive: true });
});

function glanceCache(url = glance.url): ReturnType<typeof openCache> {
  return openCache({ glance: { endpoints: [url] }, http: { retryPausesMs: [1, 1, 1] } });
}

describe('an image in Glance', () => {
  it('is looked up by its id, launched as it is declared, and has its bytes', async () => {
    const bytes = diskBytes(21);
    const file = read(writeQcow2(scratch(), bytes));
    const id = await glance.add(
      {
        name: 'cirros ☁',
        disk_format: 'qcow2',
        container_format: 'bare',
        min_ram: 64,
        hw_machine_type: 'q35',
        os_distro: 'cirros',
        owner_note: 'not for Nova',
      },
      file,
    );
    const image = await service.getImage(id.toUpperCase());
    expect(image).toEqual({
      id,
      name: 'cirros ☁',
      diskFormat: 'qcow2',
      source: { type: 'glance' },
      sizeBytes: file.length,
      minDiskGb: 1,
      minRamMb: 64,
      checksum: { algorithm: 'sha512', value: digest(file, 'sha512') },
      properties: { hw_machine_type: 'q35', os_distro: 'cirros' },
    });
    const { cache } = glanceCache();
    const base = await cache.ensureBase(image, ANY_SIZE);
    expect(read(base.path).equals(bytes)).toBe(true);
    expect((await cache.ensureBase(image, ANY_SIZE)).how).toBe('hit');
    expect(JSON.parse(read(`${base.path}.json`).toString())).toMatchObject({
      imageId: id,
      source: 'Glance',
      checksum: image.checksum,
    });
  });

  it('is found by its properties, the newest first, page after page, and deleted once', async () => {
    const properties = { image_type: 'backup', backup_type: 'every & any/day' };
    const record = { disk_format: 'raw', container_format: 'bare', ...properties };
    const ids: string[] = [];
    for (let each = 0; each < 52; each++) ids.unshift(await glance.add(record));
    await glance.add({ ...record, backup_type: 'weekly' });
    expect(await service.listImages(properties)).toEqual(ids);
    expect(await service.listImages({ ...properties, image_type: 'none' })).toEqual([]);
    const [newest = '', ...older] = ids;
    await service.deleteImage(newest);
    await service.deleteImage(newest);
    expect(await service.listImages(properties)).toEqual(older);
    const kept = await glance.add({ ...record, protected: true });
    await expect(service.deleteImage(kept)).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    await expect(service.deleteImage('../images')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('is verified by what Glance knows, though the request declares nothing', async () => {
    const id = await glance.add({ disk_format: 'raw', container_format: 'bare' }, noise(2 * MIB));
    writeFileSync(glance.file(id), noise(2 * MIB, 2));
    const { cache, bases, temporaries } = glanceCache();
    const source = { type: 'glance', imageId: id } as const;
    await expect(
      cache.ensureBase({ id: 'mine', diskFormat: 'raw', source, properties: {} }, ANY_SIZE),
    ).rejects.toMatchObject({ code: 'IMAGE_CHECKSUM_MISMATCH' });
    expect([...bases(), ...temporaries()]).toEqual([]);
  });

  it('goes on where a connection broke', async () => {
    const bytes = noise(8 * MIB, 3);
    const id = await glance.add({ disk_format: 'raw', container_format: 'bare' }, bytes);
    const proxy = await cuttingProxy(3 * MIB);
    const { cache } = glanceCache(proxy.url);
    const source = { type: 'glance' } as const;
    const base = await cache.ensureBase({ id, diskFormat: 'raw', source, properties: {} }, ANY_SIZE);
    expect(read(base.path).equals(bytes)).toBe(true);
    const ranges = [...proxy.sent().matchAll(/^range: bytes=(\d+)-\r$/gim)].map(([, from]) => Number(from));
    expect(ranges.length).toBeGreaterThan(0);
    // Each from where the one before it ended: no byte is asked for twice.
    expect(ranges).toEqual([...new Set(ranges)].sort((a, b) => a - b));
  });

  it('cannot be had before its data is there, retryable; nor when it is deactivated', async () => {
    const queued = await glance.add({ disk_format: 'raw', container_format: 'bare' });
    const status = async (id: string): Promise<unknown> =>
      await service.getImage(id).catch((error: unknown) => ComputeError.is(error) && error.toJSON());
    expect(await status(queued)).toMatchObject({
      code: 'IMAGE_DOWNLOAD_FAILED',
      retryable: true,
      details: { status: 'queued' },
    });
    const held = await glance.add({ disk_format: 'raw', container_format: 'bare' }, noise(MIB));
    await glance.deactivate(held);
    expect(await status(held)).toMatchObject({
      code: 'IMAGE_DOWNLOAD_FAILED',
      retryable: false,
      details: { status: 'deactivated' },
    });
  });

  it('is refused in a container, or in no disk format that is known', async () => {
    const appliance = await glance.add({ disk_format: 'vmdk', container_format: 'ova' }, noise(MIB));
    await expect(service.getImage(appliance)).rejects.toMatchObject({
      code: 'IMAGE_UNACCEPTABLE',
      details: { rule: 'container-format' },
    });
  });

  it('that does not exist is not found, by look-up and by launch', async () => {
    const id = '11111111-1111-4111-8111-111111111111';
    await expect(service.getImage(id)).rejects.toMatchObject({ code: 'IMAGE_NOT_FOUND' });
    const source = { type: 'glance' } as const;
    await expect(
      glanceCache().cache.ensureBase({ id, diskFormat: 'raw', source, properties: {} }, ANY_SIZE),
    ).rejects.toMatchObject({ code: 'IMAGE_NOT_FOUND' });
  });
});

it('launch of the command line takes an image by its id in Glance', async () => {
  const id = await glance.add({ name: 'small', disk_format: 'raw', container_format: 'bare' }, noise(MIB));
  const launch = (image: string) =>
    spawnSync(
      process.execPath,
      [
        main,
        'launch',
        '--json',
        '--driver',
        'fake.FakeDriver',
        '--instances-path',
        scratch(),
        '--image',
        image,
      ],
      { encoding: 'utf8', env: { PATH: process.env['PATH'], OS_IMAGE_ENDPOINT_OVERRIDE: glance.url } },
    );
  const { status, stdout } = launch(`glance:${id}`);
  expect(JSON.parse(stdout)).toMatchObject({ ok: true, instance: { displayName: 'small', imageId: id } });
  expect(status).toBe(0);
  expect(JSON.parse(launch(`glance:${id.replace(/^./, 'x')}`).stdout)).toMatchObject({
    ok: false,
    error: { code: 'INVALID_ARGUMENT' },
  });
});

/** Passes everything on, and resets each connection when that many bytes have come back. */
async function cuttingProxy(bytes: number): Promise<{ readonly url: string; sent(): string }> {
  let sent = '';
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const { hostname, port } = new URL(glance.url);
    const upstream = connect(Number(port), hostname);
    let returned = 0;
    const end = (): void => {
      client.resetAndDestroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', end).on('close', end);
    }
    client.on('data', (data) => {
      sent += data.toString('latin1');
      upstream.write(data);
    });
    upstream.on('data', (data) => {
      returned += data.length;
      client.write(data, () => {
        if (returned > bytes) end();
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return { url: `http://127.0.0.1:${address.port}`, sent: () => sent };
}

it('prefetch of the command line takes one too, with the checksum that Glance has', async () => {
  const bytes = noise(MIB, 5);
  const id = await glance.add({ name: 'small', disk_format: 'raw', container_format: 'bare' }, bytes);
  const words = ['image', 'cache', 'prefetch', `glance:${id}`, '--json', '--instances-path', scratch()];
  const { status, stdout } = spawnSync(process.execPath, [main, ...words], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], OS_IMAGE_ENDPOINT_OVERRIDE: glance.url },
  });
  expect(status).toBe(0);
  const base = JSON.parse(stdout);
  expect(base).toMatchObject({ ok: true, imageId: id, how: 'fetched' });
  expect(read(base.path).equals(bytes)).toBe(true);
  expect(JSON.parse(read(`${base.path}.json`).toString())).toMatchObject({
    content: { algorithm: 'sha512', value: digest(bytes, 'sha512') },
  });
});
