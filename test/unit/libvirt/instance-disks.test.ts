// disk.info: what was written is read again, also what an older version wrote, and nothing else.
import { expect, it } from 'vitest';
import { formatDisks, type InstanceDisks, parseDisks } from '../../../src/libvirt/instance-disks.js';

const overlay = {
  format: 'qcow2',
  virtualSizeBytes: 2 ** 30,
  base: { path: '/b/x', format: 'raw' },
} as const;
const copy = { format: 'raw', virtualSizeBytes: 2 ** 30 } as const;

it.each<InstanceDisks>([
  { disk: overlay },
  { disk: copy, 'disk.local': copy, 'disk.swap': copy },
  { disk: { ...overlay, base: { path: '/b/x', format: 'qcow2' } }, 'disk.swap': overlay },
])('round trip %#', (disks) => {
  expect(parseDisks(formatDisks(disks), '/i/disk.info')).toEqual(disks);
});

it('of an older version tells of the root disk alone', () => {
  expect(parseDisks('{"format":"qcow2","virtualSizeBytes":512}', '/i/disk.info')).toEqual({
    disk: { format: 'qcow2', virtualSizeBytes: 512 },
  });
});

it.each([
  '',
  'null',
  '[]',
  '{}',
  '{"disk":{"format":"vmdk","virtualSizeBytes":1}}',
  '{"disk":{"format":"raw"}}',
])('that cannot be understood is an error: %s', (text) => {
  expect(() => parseDisks(text, '/i/disk.info')).toThrowError(
    expect.objectContaining({ code: 'INVALID_STATE', details: { path: '/i/disk.info' } }),
  );
});
