// Rebuild by the agent: the guest's drive tells what the user gave with it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { NovaObject } from '../../src/agent/nova-object.js';
import { type CommandBench, commandBench, IMAGE, obstacle } from '../agent/command-bench.js';

let bench: CommandBench;

beforeAll(async () => {
  if (!obstacle) bench = await commandBench();
}, 120_000);
beforeEach(({ skip }) => skip(obstacle !== undefined, obstacle));
afterAll(() => bench?.close());

const drive = (uuid: string): string =>
  readFileSync(join(bench.instancesPath, uuid, 'disk.config'), 'latin1');
/** As the API sends it with the image's metadata. */
const rebuild = async (instance: NovaObject, args: Readonly<Record<string, unknown>> = {}): Promise<void> => {
  const properties = NovaObject.create({ name: 'ImageMetaProps', version: '1.33', fields: {} });
  const fields = { id: IMAGE, disk_format: 'qcow2', properties };
  const image = NovaObject.create({ name: 'ImageMeta', version: '1.8', fields });
  const spec = NovaObject.create({ name: 'RequestSpec', version: '1.14', fields: { image } });
  await bench.cast('rebuild_instance', { instance, image_ref: IMAGE, request_spec: spec, ...args });
  expect(bench.conductor.finished('compute_rebuild_instance').at(-1)?.failure).toBeUndefined();
};
const base64 = (text: string): string => Buffer.from(text).toString('base64');

it('the config drive has the new key, user data, metadata, password and files', async () => {
  const uuid = '0b1c2d3e-0000-4000-8000-000000000001';
  const old = { configDrive: { userData: base64('#!old'), metadata: { role: 'old' } } };
  const instance = await bench.server(uuid, { task_state: 'rebuilding', config_drive: 'True' }, old);
  expect(drive(uuid)).toContain('#!old');
  const news = { key_name: 'mine', key_data: 'ssh-ed25519 AAAA me', user_data: base64('#!new') };
  for (const [field, value] of Object.entries({ ...news, metadata: { role: 'new' } })) {
    instance.set(field, value);
  }
  const files = [['/etc/motd', base64('good morning')]];
  await rebuild(instance, { new_pass: 'open-sesame', injected_files: files });
  const told = drive(uuid);
  const words = ['#!new', 'ssh-ed25519 AAAA me', 'open-sesame', 'good morning', '"role":"new"', '#!old'];
  expect(words.filter((word) => !told.includes(word))).toEqual(['#!old']);
  expect(bench.conductor.instance(uuid).get('vm_state')).toBe('active');
});

it('a server without a drive gets none', async () => {
  const uuid = '0b1c2d3e-0000-4000-8000-000000000002';
  const instance = await bench.server(uuid, { task_state: 'rebuilding' });
  await rebuild(instance, { new_pass: 'open-sesame' });
  expect(bench.conductor.instance(uuid).get('vm_state')).toBe('active');
  expect(() => drive(uuid)).toThrow('ENOENT');
});
