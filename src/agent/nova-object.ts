// Nova's versioned objects on the wire, whatever their class: all fields are kept, and which of them were changed.
import { unacceptable } from './errors.js';

const NAME = 'nova_object.name';
const NAMESPACE = 'nova_object.namespace';
const VERSION = 'nova_object.version';
const DATA = 'nova_object.data';
const CHANGES = 'nova_object.changes';
const KNOWN = new Set([NAME, NAMESPACE, VERSION, DATA, CHANGES]);

export interface NewNovaObject {
  readonly name: string;
  readonly version: string;
  /** Default `nova`. */
  readonly namespace?: string;
  /** All of these count as changed. */
  readonly fields: Readonly<Record<string, unknown>>;
}

/**
 * A copy of an object of the conductor's. `save` there writes the fields that are named as changed, and no other; a
 * version that is newer than ours loses nothing on its way through here.
 */
export class NovaObject {
  readonly name: string;
  readonly namespace: string;
  readonly version: string;
  readonly #fields: Map<string, unknown>;
  readonly #changed: Set<string>;
  readonly #rest: readonly (readonly [string, unknown])[];

  private constructor(
    identity: { readonly name: string; readonly namespace: string; readonly version: string },
    fields: Map<string, unknown>,
    changed: Set<string>,
    rest: readonly (readonly [string, unknown])[],
  ) {
    this.name = identity.name;
    this.namespace = identity.namespace;
    this.version = identity.version;
    this.#fields = fields;
    this.#changed = changed;
    this.#rest = rest;
  }

  static create({ name, version, namespace = 'nova', fields }: NewNovaObject): NovaObject {
    const object = new NovaObject({ name, namespace, version }, new Map(), new Set(), []);
    for (const [field, value] of Object.entries(fields)) object.set(field, value);
    return object;
  }

  /** Throws `MESSAGE_UNACCEPTABLE` with the rule `object`. */
  static decode(primitive: Readonly<Record<string, unknown>>): NovaObject {
    const { [NAME]: name, [NAMESPACE]: namespace, [VERSION]: version, [DATA]: data } = primitive;
    const changes = primitive[CHANGES] ?? [];
    if (typeof name !== 'string' || typeof namespace !== 'string' || typeof version !== 'string') {
      throw unacceptable('object', 'an object without name, namespace or version');
    }
    if (typeof data !== 'object' || data === null || Array.isArray(data)) {
      throw unacceptable('object', 'an object whose data are none');
    }
    if (!Array.isArray(changes) || !changes.every((change) => typeof change === 'string')) {
      throw unacceptable('object', 'an object whose changes are no list of names');
    }
    const fields = new Map(Object.entries(data).map(([field, value]) => [field, decodeValue(value)]));
    const rest = Object.entries(primitive).filter(([key]) => !KNOWN.has(key));
    return new NovaObject({ name, namespace, version }, fields, new Set(changes), rest);
  }

  encode(): Record<string, unknown> {
    const { changes } = this;
    return Object.fromEntries([
      [NAME, this.name],
      [NAMESPACE, this.namespace],
      [VERSION, this.version],
      [DATA, Object.fromEntries([...this.#fields].map(([field, value]) => [field, encodeValue(value)]))],
      ...(changes.length > 0 ? [[CHANGES, changes]] : []),
      ...this.#rest,
    ]);
  }

  get fields(): readonly string[] {
    return [...this.#fields.keys()];
  }

  has(field: string): boolean {
    return this.#fields.has(field);
  }

  /** Undefined where the object was sent without the field: it is then to be loaded, not empty. */
  get(field: string): unknown {
    return this.#fields.get(field);
  }

  /** A Date becomes the text that Nova's DateTime fields are. */
  set(field: string, value: unknown): void {
    this.#fields.set(field, value instanceof Date ? encodeTime(value) : value);
    this.#changed.add(field);
  }

  /** A DateTime field; null where it is null, or was not sent. Throws `MESSAGE_UNACCEPTABLE` for another text. */
  time(field: string): Date | null {
    const value = this.get(field);
    return value == null ? null : decodeTime(value);
  }

  /** Set since it was read or saved, or holding an object of which that is true. */
  get changes(): readonly string[] {
    const changes = new Set(this.#changed);
    for (const [field, value] of this.#fields) if (holdsChange(field, value)) changes.add(field);
    return [...changes];
  }

  /**
   * Takes over what a call of one of its methods answered: fields as they are now, and in `obj_what_changed` which of
   * them still differ from what is stored. Fields that are not named stay as they are.
   */
  merge(updates: Readonly<Record<string, unknown>>): void {
    const { obj_what_changed: changed, ...fields } = updates;
    for (const [field, value] of Object.entries(fields)) this.#fields.set(field, value);
    this.#changed.clear();
    if (Array.isArray(changed)) for (const field of changed) this.#changed.add(String(field));
  }
}

/** As oslo.versionedobjects: a field's own object counts, a list's items only in an object that is a list. */
function holdsChange(field: string, value: unknown): boolean {
  if (value instanceof NovaObject) return value.changes.length > 0;
  return (
    field === 'objects' &&
    Array.isArray(value) &&
    value.some((item) => item instanceof NovaObject && item.changes.length > 0)
  );
}

/** Objects within plain values become {@link NovaObject}s. Throws `MESSAGE_UNACCEPTABLE`. */
export function decodeValue(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(decodeValue);
  if (Object.hasOwn(value, NAME)) return NovaObject.decode(value as Record<string, unknown>);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, decodeValue(item)]));
}

export function encodeValue(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof NovaObject) return value.encode();
  if (value instanceof Date) return encodeTime(value);
  if (Array.isArray(value)) return value.map(encodeValue);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, encodeValue(item)]));
}

/** `2026-11-22T22:52:52Z`: Nova keeps whole seconds. */
export function encodeTime(time: Date): string {
  return `${time.toISOString().slice(0, 19)}Z`;
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;

export function decodeTime(value: unknown): Date {
  const time = typeof value === 'string' && TIME.test(value) ? new Date(value) : undefined;
  if (!time || Number.isNaN(time.getTime())) throw unacceptable('object', 'a time that is not of ISO 8601');
  return time;
}
