import { describe, expect, it } from 'vitest';
import { decodeTime, decodeValue, encodeValue, NovaObject } from '../../../src/agent/nova-object.js';
import { objectVersions as versionsOf } from '../../../src/agent/releases/release.js';
import { zed } from '../../../src/agent/releases/zed.js';
import { HOSTS, objectVersions, rows, wire } from '../../agent/traces.js';

function objectsIn(value: unknown): Record<string, unknown>[] {
  if (typeof value !== 'object' || value === null) return [];
  const own = 'nova_object.name' in value ? [value as Record<string, unknown>] : [];
  return [...own, ...Object.values(value).flatMap(objectsIn)];
}

describe.each(HOSTS)('the golden traces of %s', (host) => {
  it('are the same after decoding and encoding', () => {
    for (const row of rows(host)) expect(encodeValue(decodeValue(row))).toEqual(row);
    for (const { body } of wire(host)) {
      if (!body) continue;
      const message = JSON.parse(body['oslo.message']);
      expect(encodeValue(decodeValue(message))).toEqual(message);
    }
  });

  it('have the order of fields and the text of the originals too', () => {
    for (const { args } of rows(host)) {
      for (const object of objectsIn(args)) {
        const again = NovaObject.decode(object).encode();
        const fields = (value: Record<string, unknown>): string[] =>
          Object.keys(value['nova_object.data'] as object);
        expect(fields(again)).toEqual(fields(object));
      }
    }
  });

  it('hold no object in another version than the table of Zed has', () => {
    const objects = rows(host).flatMap(objectsIn);
    expect(objects.length).toBeGreaterThan(100);
    for (const object of objects) {
      const name = String(object['nova_object.name']);
      expect([name, zed.objects[name]?.[0]]).toEqual([name, object['nova_object.version']]);
    }
  });
});

it('the table of Zed makes the manifests that the stock host sends', () => {
  expect(Object.keys(objectVersions).length).toBeGreaterThan(15);
  for (const [name, versions] of Object.entries(objectVersions))
    expect(versionsOf(zed, name)).toEqual(versions);
  expect(versionsOf(zed, 'constructor')).toEqual({});
});

describe('an object', () => {
  const primitive = {
    'nova_object.name': 'Instance',
    'nova_object.namespace': 'nova',
    'nova_object.version': '9.9',
    'nova_object.data': {
      host: null,
      vm_state: 'building',
      a_field_of_tomorrow: { deep: [1, { 'nova_object.name': 'is not an object' }.toString()] },
      launched_at: '2026-11-22T22:52:52Z',
      flavor: {
        'nova_object.name': 'Flavor',
        'nova_object.namespace': 'nova',
        'nova_object.version': '1.2',
        'nova_object.data': { name: 'tiny' },
      },
    },
    'nova_object.of_tomorrow': true,
  };

  it('keeps what it does not know, and tells what was changed', () => {
    const object = NovaObject.decode(primitive);
    expect(object.changes).toEqual([]);
    expect(object.encode()).toEqual(primitive);
    object.set('vm_state', 'active');
    object.set('host', 'h');
    expect(object.changes).toEqual(['vm_state', 'host']);
    expect(object.encode()).toEqual({
      ...primitive,
      'nova_object.data': { ...primitive['nova_object.data'], vm_state: 'active', host: 'h' },
      'nova_object.changes': ['vm_state', 'host'],
    });
  });

  it('is changed where an object that it holds is', () => {
    const object = NovaObject.decode(primitive);
    (object.get('flavor') as NovaObject).set('name', 'small');
    expect(object.changes).toEqual(['flavor']);
    const list = NovaObject.create({ name: 'InstanceList', version: '2.6', fields: {} });
    list.merge({ objects: [object] });
    expect(list.changes).toEqual(['objects']);
  });

  it('takes over what the conductor answered', () => {
    const object = NovaObject.decode(primitive);
    object.set('host', 'h');
    object.set('vm_state', 'active');
    object.merge({ updated_at: '2026-11-22T23:00:00Z', host: 'h2', obj_what_changed: ['ec2_ids'] });
    expect(object.get('host')).toBe('h2');
    expect(object.get('vm_state')).toBe('active');
    expect(object.changes).toEqual(['ec2_ids']);
    object.merge({});
    expect(object.changes).toEqual([]);
  });

  it('tells times, and a field that was not sent from one that is null', () => {
    const object = NovaObject.decode(primitive);
    expect(object.time('launched_at')).toEqual(new Date('2026-11-22T22:52:52Z'));
    expect(object.time('terminated_at')).toBeNull();
    expect([object.has('host'), object.get('host')]).toEqual([true, null]);
    expect([object.has('node'), object.get('node')]).toEqual([false, undefined]);
    object.set('terminated_at', new Date('2026-11-23T01:02:03.987Z'));
    expect(object.get('terminated_at')).toBe('2026-11-23T01:02:03Z');
    expect(decodeTime('2026-11-22T23:52:52.5+01:00')).toEqual(new Date('2026-11-22T22:52:52.500Z'));
    for (const text of ['yesterday', '2026-13-45T00:00:00Z', '2026-11-22', 5]) {
      expect(() => decodeTime(text)).toThrow(expect.objectContaining({ code: 'MESSAGE_UNACCEPTABLE' }));
    }
  });

  it('has fields named as the prototype', () => {
    const data = JSON.parse('{"__proto__":{"x":1},"constructor":2}');
    const object = NovaObject.decode({ ...primitive, 'nova_object.data': data });
    expect(object.fields).toEqual(['__proto__', 'constructor']);
    expect(JSON.stringify(object.encode()['nova_object.data'])).toBe(JSON.stringify(data));
    expect(object.has('toString')).toBe(false);
  });

  it.each([
    { 'nova_object.name': 1 },
    { 'nova_object.version': undefined },
    { 'nova_object.namespace': null },
    { 'nova_object.data': [] },
    { 'nova_object.data': null },
    { 'nova_object.changes': 'host' },
    { 'nova_object.changes': [1] },
    { 'nova_object.data': { flavor: { 'nova_object.name': 'Flavor' } } },
  ])('is refused where it is none: %j', (part) => {
    expect(() => decodeValue([{ ...primitive, ...part }])).toThrow(
      expect.objectContaining({ code: 'MESSAGE_UNACCEPTABLE', details: { rule: 'object' } }),
    );
  });
});
