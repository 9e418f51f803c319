// An upload into a Glance that misbehaves: it dies, is slow, loses its answer, has other bytes, wants another token, has no room.
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { ComputeError } from '../../src/driver/errors.js';
import { GlanceClient } from '../../src/image/glance-client.js';
import {
  createRecord,
  describeRecord,
  type ImageRecord,
  removeUnfinished,
  type UploadCall,
  uploadFile,
} from '../../src/image/glance-upload.js';
import type { HttpSourceOptions } from '../../src/image/types.js';
import { scratch, serve } from '../image/fixtures.js';
import { json } from '../support/fake-cloud.js';

const logger = { debug() {}, info() {}, warn() {}, error() {} };
/** Ends within its last sector. */
const BYTES = 3 * 2 ** 20 + 77;
const record: ImageRecord = {
  name: 'one',
  diskFormat: 'qcow2',
  minDiskGb: 1,
  minRamMb: 0,
  properties: { image_type: 'snapshot', 'trait:HW/X~Y': 'required' },
};

type Put = (request: IncomingMessage, response: ServerResponse, take: () => Promise<void>) => unknown;

/** One image, with what Glance does to its status; `puts` say what becomes of each transfer, the last one of all that follow. */
async function makeGlance(puts: readonly Put[] = [], http: HttpSourceOptions = {}, bytes = BYTES) {
  const path = join(scratch('upload'), 'image');
  const data = randomBytes(bytes);
  writeFileSync(path, data);
  const image: Record<string, unknown> = {};
  const patches: unknown[] = [];
  let tries = 0;
  const server = await serve((request, response) => {
    void (async () => {
      const { method, url = '' } = request;
      if (method === 'PUT') {
        const take = async (): Promise<void> => {
          const pieces: Buffer[] = [];
          image['status'] = 'saving';
          for await (const piece of request) pieces.push(piece as Buffer);
          const got = Buffer.concat(pieces);
          Object.assign(image, {
            status: 'active',
            size: got.length,
            os_hash_algo: 'sha512',
            os_hash_value: createHash('sha512').update(got).digest('hex'),
          });
        };
        const put = puts[Math.min(tries++, puts.length - 1)];
        if (put) return await put(request, response, take);
        await take();
        return response.writeHead(204).end();
      }
      let body = '';
      for await (const piece of request) body += String(piece);
      if (method === 'POST') {
        if (image['id'] !== undefined) return json(response, {}, 409);
        Object.assign(image, JSON.parse(body) as object, { status: 'queued' });
        return json(response, image, 201);
      }
      if (image['id'] === undefined || !url.endsWith(String(image['id']))) return json(response, {}, 404);
      if (method === 'PATCH') patches.push(...(JSON.parse(body) as unknown[]));
      if (method === 'DELETE') {
        delete image['id'];
        return response.writeHead(204).end();
      }
      return json(response, image);
    })().catch(() => response.destroy());
  });
  const options: HttpSourceOptions = { retryPausesMs: [1, 1, 1], ...http };
  const client = new GlanceClient({ endpoints: [server.url] }, options);
  onTestFinished(() => client.close());
  const imageId = randomUUID();
  const controller = new AbortController();
  const call: UploadCall = { imageId, signal: controller.signal, http: options, logger };
  const progress: number[] = [];
  const upload = () =>
    uploadFile(client, call, { path, sizeBytes: bytes, onProgress: (done) => progress.push(done) });
  return { client, call, upload, image, patches, progress, controller, requests: server.requests, data };
}

async function failure(call: Promise<unknown>): Promise<ComputeError> {
  const error = await call.then(
    (value) => value,
    (reason: unknown) => reason,
  );
  if (!ComputeError.is(error)) throw new Error(`no ComputeError: ${String(error)}`);
  return error;
}

const puts = (requests: readonly string[]): number => requests.filter((one) => one.startsWith('PUT')).length;

it('sends the record, then the bytes, and believes only the digest of Glance', async () => {
  const { client, call, upload, image, progress, data, requests } = await makeGlance();
  await createRecord(client, call, record);
  expect(image).toMatchObject({
    id: call.imageId,
    disk_format: 'qcow2',
    min_disk: 1,
    'trait:HW/X~Y': 'required',
  });
  expect(await upload()).toEqual({
    algorithm: 'sha512',
    value: createHash('sha512').update(data).digest('hex'),
  });
  expect(progress.at(-1)).toBe(BYTES);
  expect(progress.every((done, index) => done > (progress[index - 1] ?? 0))).toBe(true);
  expect(puts(requests)).toBe(1);
  // What has become an image is never removed by the way.
  await removeUnfinished(client, call);
  expect(image['id']).toBe(call.imageId);
});

it('describes a record that is there by changes alone', async () => {
  const { client, call, patches } = await makeGlance();
  await createRecord(client, call, record);
  await describeRecord(client, call, record);
  expect(patches).toContainEqual({ op: 'add', path: '/trait:HW~1X~0Y', value: 'required' });
  expect(patches).toContainEqual({ op: 'add', path: '/disk_format', value: 'qcow2' });
  expect(patches.some((one) => (one as { path: string }).path === '/name')).toBe(false);
});

it('begins again from the start where the connection breaks', async () => {
  const breaks: Put = (request, _response) => {
    request.once('data', () => request.socket.destroy());
  };
  const whole: Put = async (_request, response, take) => {
    await take();
    response.writeHead(204).end();
  };
  const { client, call, upload, requests, image } = await makeGlance([breaks, breaks, whole]);
  await createRecord(client, call, record);
  await upload();
  expect(puts(requests)).toBe(3);
  expect(image['size']).toBe(BYTES);
});

it('does not send again what Glance has, where only its answer was lost', async () => {
  const { client, call, upload, requests } = await makeGlance([
    async (request, _response, take) => {
      await take();
      request.socket.destroy();
    },
  ]);
  await createRecord(client, call, record);
  await upload();
  expect(puts(requests)).toBe(1);
});

it('gives up a Glance that is gone, with a retryable error, and removes the record once it is back', async () => {
  const { client, call, upload, requests, image } = await makeGlance([
    (_request, response) => json(response, {}, 503),
  ]);
  await createRecord(client, call, record);
  const error = await failure(upload());
  expect(error).toMatchObject({ code: 'IMAGE_UPLOAD_FAILED', retryable: true });
  expect(puts(requests)).toBe(4);
  await removeUnfinished(client, call);
  expect(image['id']).toBeUndefined();
  await removeUnfinished(client, call);
});

it('gives up at once where Glance has no room for it', async () => {
  const { client, call, upload, requests } = await makeGlance([
    (request, response) => {
      request.resume();
      json(response, {}, 413);
    },
  ]);
  await createRecord(client, call, record);
  expect(await failure(upload())).toMatchObject({
    code: 'IMAGE_UPLOAD_FAILED',
    retryable: false,
    details: { statusCode: 413 },
  });
  expect(puts(requests)).toBe(1);
});

it('finds out that other bytes arrived', async () => {
  const { client, call, upload, image } = await makeGlance([
    async (_request, response, take) => {
      await take();
      image['os_hash_value'] = 'a'.repeat(128);
      response.writeHead(204).end();
    },
  ]);
  await createRecord(client, call, record);
  expect(await failure(upload())).toMatchObject({ code: 'IMAGE_CHECKSUM_MISMATCH' });
});

it('gives up a server that takes next to nothing', async () => {
  const http = { rateWindowMs: 200, leastBytesPerSecond: 1e9, retryPausesMs: [] };
  // More than fits into the buffers of a connection.
  const { client, call, upload } = await makeGlance([(request) => void request.pause()], http, 2 ** 25);
  await createRecord(client, call, record);
  expect(await failure(upload())).toMatchObject({ code: 'IMAGE_UPLOAD_FAILED', retryable: true });
});

it('ends at once when it is aborted', async () => {
  const { client, call, upload, controller } = await makeGlance([(request) => void request.pause()]);
  await createRecord(client, call, record);
  setTimeout(() => controller.abort(), 50);
  expect(await failure(upload())).toMatchObject({ code: 'ABORTED' });
});

it('is refused without a second try where Glance wants another token than the one it was given', async () => {
  let refused = 0;
  const { client, call, upload } = await makeGlance([
    (request, response) => {
      refused += 1;
      request.resume();
      json(response, {}, 401);
    },
  ]);
  await createRecord(client, call, record);
  expect(await failure(upload())).toMatchObject({ code: 'UNAUTHORIZED' });
  expect(refused).toBe(1);
});
