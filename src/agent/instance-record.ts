// Nova's record of one instance, as one command reads and changes it; services that are away are waited for.
import { isDeepStrictEqual } from 'node:util';
import { ComputeError } from '../driver/errors.js';
import { POWER_STATE_CODES, type PowerState } from '../driver/model.js';
import type { ComputeHost } from './compute-host.js';
import type { RpcContext } from './envelope.js';
import { RemoteError, unacceptable } from './errors.js';
import { encodeValue, NovaObject } from './nova-object.js';
import { persist } from './persist.js';
import type { CallOptions } from './rpc-client.js';

export type Fields = Readonly<Record<string, unknown>>;

/** It was deleted, or is about to be: whatever else was to be done with it is not any more. */
const GOING: readonly string[] = ['InstanceNotFound', 'UnexpectedDeletingTaskStateError'];

export function isGoing(error: unknown): boolean {
  return GOING.some((one) => RemoteError.of(error, one));
}

export function isDeletion(taskState: unknown): boolean {
  return taskState === 'deleting' || taskState === 'soft-deleting';
}

export class InstanceRecord {
  readonly #host: ComputeHost;
  readonly object: NovaObject;
  readonly uuid: string;
  /** Of all that is asked for its sake. */
  readonly call: CallOptions & { readonly context: RpcContext; readonly signal: AbortSignal };

  /** Throws `MESSAGE_UNACCEPTABLE` for what is no instance. */
  constructor(host: ComputeHost, instance: unknown, context: RpcContext) {
    this.#host = host;
    this.object = instanceOf(instance);
    this.uuid = uuidOf(this.object);
    this.call = { context, signal: host.signal };
  }

  get vmState(): unknown {
    return this.object.get('vm_state');
  }

  get taskState(): unknown {
    return this.object.get('task_state');
  }

  /** False: it is not there any more. Else its fields are as they are stored. */
  async refresh(): Promise<boolean> {
    try {
      await persist(this.call.signal, () => this.#host.conductor.refresh(this.object, this.call));
      return true;
    } catch (error) {
      if (RemoteError.of(error, 'InstanceNotFound')) return false;
      throw error;
    }
  }

  /** Whether a command that waits for it in one of these task states has still to be done. */
  async isPending(taskStates: readonly unknown[]): Promise<boolean> {
    return (await this.refresh()) && taskStates.includes(this.taskState);
  }

  /** Rejects with `RemoteError`, where {@link isGoing} tells of a deletion. */
  async save(fields: Fields, expectedTaskState?: string | readonly (string | null)[]): Promise<void> {
    const { conductor } = this.#host;
    const options = { ...this.call, ...(expectedTaskState !== undefined && { expectedTaskState }) };
    await persist(this.call.signal, async (isAgain) => {
      if (isAgain && expectedTaskState !== undefined && (await this.#holds(fields))) {
        this.object.merge(fields);
        return;
      }
      for (const [field, value] of Object.entries(fields)) this.object.set(field, value);
      await conductor.save(this.object, options);
    });
  }

  /** Nova's event of the action that a user asked for. Its loss is none of the command's. */
  async startEvent(event: string): Promise<void> {
    await this.#note(event, () =>
      this.#host.conductor.startEvent(this.uuid, event, this.#host.name, this.call),
    );
  }

  async finishEvent(event: string, error?: unknown): Promise<void> {
    const failure = error === undefined ? undefined : { message: reasonOf(error) };
    await this.#note(event, () => this.#host.conductor.finishEvent(this.uuid, event, failure, this.call));
  }

  /** What a user reads of a failure. */
  async fault(error: unknown): Promise<void> {
    const fault = {
      instanceUuid: this.uuid,
      host: this.#host.name,
      code: 500,
      message: reasonOf(error).slice(0, 255),
      details: ComputeError.is(error) ? JSON.stringify(error.toJSON(), plain) : reasonOf(error),
    };
    await this.#note('the fault', () => this.#host.conductor.createFault(fault, this.call));
  }

  /** The hypervisor's word, `nostate` where it does not know the instance. */
  async powerState(): Promise<PowerState> {
    try {
      return (await this.#host.node.get(this.uuid, { signal: this.call.signal })).powerState;
    } catch (error) {
      if (ComputeError.is(error) && error.code === 'INSTANCE_NOT_FOUND') return 'nostate';
      throw error;
    }
  }

  async #note(what: string, write: () => Promise<void>): Promise<void> {
    try {
      await persist(this.call.signal, write);
    } catch (error) {
      if (this.call.signal.aborted) throw error;
      this.#host.log.warn(`the conductor did not take down ${what} of ${this.uuid}: ${reasonOf(error)}`, {
        kind: 'not-taken-down',
        instanceUuid: this.uuid,
      });
    }
  }

  async #holds(fields: Fields): Promise<boolean> {
    const stored = await this.#host.conductor.instance(this.uuid, [], this.call);
    return Object.entries(fields).every(
      ([field, value]) =>
        value instanceof NovaObject ||
        !stored.has(field) ||
        isDeepStrictEqual(stored.get(field), encodeValue(value)),
    );
  }
}

/** Throws `MESSAGE_UNACCEPTABLE` for what is no instance. */
export function instanceOf(given: unknown): NovaObject {
  if (given instanceof NovaObject && given.name === 'Instance') return given;
  throw unacceptable('object', 'its instance is none');
}

/** Throws `MESSAGE_UNACCEPTABLE`. */
export function textOf(object: NovaObject, field: string): string {
  const value = object.get(field);
  if (typeof value === 'string') return value;
  throw unacceptable('object', `field ${field} of a ${object.name} is no text`);
}

/** As Nova writes them. */
export function isUuid(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value);
}

/** Throws `MESSAGE_UNACCEPTABLE`: it becomes part of paths, of files and in Placement. */
export function uuidOf(object: NovaObject): string {
  const value = textOf(object, 'uuid');
  if (isUuid(value)) return value;
  throw unacceptable('object', `the uuid of a ${object.name} is none`);
}

/** Nova's number. A suspended guest is one that is shut down, to Nova. */
export function powerCode(state: PowerState): number {
  return POWER_STATE_CODES[state === 'suspended' ? 'shutdown' : state];
}

export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function plain(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}
