// Paths and domain names are made of uuids and numbers: nothing else may pass for one.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkInstanceIdentity, checkInstanceUuid, isInstanceUuid } from '../../../src/driver/identity.js';
import { instanceName } from '../../../src/driver/model.js';

const refused = expect.objectContaining({ code: 'INVALID_ARGUMENT' });
const UUID = '6f2d1c3e-58a4-4b7e-9a31-0c9d5e7f1a2b';

describe('the identity of an instance', () => {
  it('takes every version from 1 to 8', () => {
    fc.assert(
      fc.property(fc.uuid({ version: [1, 2, 3, 4, 5, 6, 7, 8] }), (uuid) => {
        expect(checkInstanceUuid(uuid, 'test')).toBe(uuid);
      }),
    );
  });

  it('takes nothing that could leave its directory or its attribute', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 60 }), (text) => {
        if (isInstanceUuid(text)) expect(text).toMatch(/^[0-9a-f-]{36}$/);
        else expect(() => checkInstanceUuid(text, 'test')).toThrow(refused);
      }),
    );
    for (const text of [
      `${UUID}\n`,
      `\n${UUID}`,
      UUID.toUpperCase(),
      `${UUID}\0`,
      ` ${UUID}`,
      UUID.slice(1),
    ]) {
      expect(isInstanceUuid(text)).toBe(false);
    }
    for (const value of [undefined, null, 7, {}, [UUID]]) expect(isInstanceUuid(value)).toBe(false);
  });

  it('keeps a long hostile text out of the message', () => {
    expect(() => checkInstanceUuid('x'.repeat(1e6), 'test')).toThrow(
      expect.objectContaining({ message: expect.stringMatching(/^.{0,200}$/) }),
    );
  });

  it('holds name and number together', () => {
    checkInstanceIdentity({ uuid: UUID, id: 255, name: 'instance-000000ff' }, 'test');
    for (const [id, name] of [
      [255, 'instance-000000fe'],
      [255, 'other'],
      [0, instanceName(0)],
      [-1, instanceName(1)],
      [1.5, instanceName(1)],
      [2 ** 32, 'instance-100000000'],
    ] as const) {
      expect(() => checkInstanceIdentity({ uuid: UUID, id, name }, 'test')).toThrow(refused);
    }
  });
});
