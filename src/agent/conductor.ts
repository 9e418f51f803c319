// Nova's conductor: what a compute host reads and writes there, as its objects' methods.
import { ComputeError } from '../driver/errors.js';
import { RemoteError } from './errors.js';
import { NovaObject } from './nova-object.js';
import { type NovaRelease, objectVersions } from './releases/release.js';
import type { CallOptions, RpcClient, RpcTarget } from './rpc-client.js';

export interface MethodArguments {
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
}

export interface SaveOptions extends CallOptions {
  /**
   * Only where the instance is in one of these task states (null: in none); else `RemoteError` of class
   * `UnexpectedTaskStateError`, or `UnexpectedDeletingTaskStateError` where it is being deleted.
   */
  readonly expectedTaskState?: string | null | readonly (string | null)[];
}

export interface InstanceFault {
  readonly instanceUuid: string;
  readonly host: string;
  /** HTTP's, 500 for what the user cannot help. */
  readonly code: number;
  readonly message: string;
  readonly details: string;
}

/** Rejections are those of {@link RpcClient.call}. Reads are asked again where the broker lost the answer. */
export class Conductor {
  readonly #client: RpcClient;
  readonly #release: NovaRelease;
  readonly #target: RpcTarget;

  constructor(client: RpcClient, release: NovaRelease) {
    this.#client = client;
    this.#release = release;
    this.#target = { topic: 'conductor', version: release.rpcVersions.conductor };
  }

  /** Resolves when a conductor answers. */
  async ping(options: CallOptions = {}): Promise<void> {
    const target = { topic: 'conductor', namespace: 'baseapi', version: '1.0' };
    await this.#client.call(target, 'ping', { arg: 'node-compute' }, { idempotent: true, ...options });
  }

  /** A new object in this release's version, all its fields changed. Throws `INVALID_ARGUMENT` where it has no such class. */
  newObject(name: string, fields: Readonly<Record<string, unknown>>): NovaObject {
    return NovaObject.create({ name, version: this.#version(name), fields });
  }

  /**
   * A method of the object, run at the conductor; what that changed is merged into the object. Two at a time on one object
   * would lose changes.
   */
  async action(
    object: NovaObject,
    method: string,
    { args = [], kwargs = {} }: MethodArguments = {},
    options: CallOptions = {},
  ): Promise<unknown> {
    const params = { objinst: object, objmethod: method, args, kwargs };
    const answer = await this.#client.call(this.#target, 'object_action', params, options);
    const [updates, result] = Array.isArray(answer) ? answer : [];
    if (typeof updates !== 'object' || updates === null || updates instanceof NovaObject) {
      throw new ComputeError(
        'MESSAGE_UNACCEPTABLE',
        `${object.name}.${method}: the conductor answered no changes`,
        {
          operation: 'call object_action',
          details: { rule: 'object' },
        },
      );
    }
    object.merge(updates as Record<string, unknown>);
    return result;
  }

  /** A method of the class; objects come in the versions of this release. */
  async classAction(
    name: string,
    method: string,
    { args = [], kwargs = {} }: MethodArguments = {},
    options: CallOptions = {},
  ): Promise<unknown> {
    this.#version(name);
    const versions = objectVersions(this.#release, name);
    const params = { objname: name, objmethod: method, object_versions: versions, args, kwargs };
    return this.#client.call(this.#target, 'object_class_action_versions', params, options);
  }

  async create(object: NovaObject, options: CallOptions = {}): Promise<void> {
    await this.action(object, 'create', {}, options);
  }

  /** Writes the changed fields. Without an expected task state it may be asked twice. */
  async save(object: NovaObject, options: SaveOptions = {}): Promise<void> {
    const { expectedTaskState, ...rest } = options;
    const kwargs = expectedTaskState === undefined ? {} : { expected_task_state: expectedTaskState };
    await this.action(object, 'save', { kwargs }, { idempotent: expectedTaskState === undefined, ...rest });
  }

  async destroy(object: NovaObject, options: CallOptions = {}): Promise<void> {
    await this.action(object, 'destroy', {}, options);
  }

  /** Reads the fields again; unsaved changes of them are lost. */
  async refresh(object: NovaObject, options: CallOptions = {}): Promise<void> {
    await this.action(object, 'refresh', {}, { idempotent: true, ...options });
  }

  /** A read that answers one object. Rejects with `MESSAGE_UNACCEPTABLE` for anything else. */
  async get(
    name: string,
    method: string,
    args: MethodArguments = {},
    options: CallOptions = {},
  ): Promise<NovaObject> {
    const answer = await this.classAction(name, method, args, { idempotent: true, ...options });
    if (answer instanceof NovaObject) return answer;
    throw new ComputeError('MESSAGE_UNACCEPTABLE', `${name}.${method}: the conductor answered no object`, {
      operation: `call ${name}.${method}`,
      details: { rule: 'object' },
    });
  }

  /** The items of a list object. */
  async list(
    name: string,
    method: string,
    args: MethodArguments = {},
    options: CallOptions = {},
  ): Promise<readonly NovaObject[]> {
    const items = (await this.get(name, method, args, options)).get('objects');
    return Array.isArray(items) ? items.filter((item) => item instanceof NovaObject) : [];
  }

  /** Oldest service version of the cloud's compute hosts; 0 where there is none. */
  async minimumServiceVersion(binary: string, options: CallOptions = {}): Promise<number> {
    const asked = { idempotent: true, ...options };
    return Number(await this.classAction('Service', 'get_minimum_version', { args: [binary] }, asked));
  }

  /** Undefined: this host has not been registered. */
  async findService(
    host: string,
    binary: string,
    options: CallOptions = {},
  ): Promise<NovaObject | undefined> {
    const args = { args: [host, binary] };
    const answer = await this.classAction('Service', 'get_by_host_and_binary', args, {
      idempotent: true,
      ...options,
    });
    return answer instanceof NovaObject ? answer : undefined;
  }

  /** Undefined: it has not been created. */
  async findComputeNode(
    host: string,
    nodename: string,
    options: CallOptions = {},
  ): Promise<NovaObject | undefined> {
    try {
      return await this.get('ComputeNode', 'get_by_host_and_nodename', { args: [host, nodename] }, options);
    } catch (error) {
      if (RemoteError.of(error, 'ComputeHostNotFound')) return undefined;
      throw error;
    }
  }

  /** `expectedAttributes` are fields that are sent only where they are asked for. */
  async instancesOf(
    host: string,
    expectedAttributes: readonly string[] = [],
    options: CallOptions = {},
  ): Promise<readonly NovaObject[]> {
    const kwargs = { expected_attrs: expectedAttributes };
    return this.list('InstanceList', 'get_by_host', { args: [host], kwargs }, options);
  }

  async instance(
    uuid: string,
    expectedAttributes: readonly string[] = [],
    options: CallOptions = {},
  ): Promise<NovaObject> {
    const kwargs = { expected_attrs: expectedAttributes };
    return this.get('Instance', 'get_by_uuid', { args: [uuid], kwargs }, options);
  }

  async blockDeviceMappings(instanceUuid: string, options: CallOptions = {}): Promise<readonly NovaObject[]> {
    return this.list('BlockDeviceMappingList', 'get_by_instance_uuid', { args: [instanceUuid] }, options);
  }

  async migration(id: number, options: CallOptions = {}): Promise<NovaObject> {
    return this.get('Migration', 'get_by_id', { args: [id] }, options);
  }

  /** Shown by `openstack server event list`. `event` is e.g. `compute__do_build_and_run_instance`. */
  async startEvent(
    instanceUuid: string,
    event: string,
    host: string,
    options: CallOptions = {},
  ): Promise<void> {
    const call = { args: [instanceUuid, event], kwargs: { want_result: false, host } };
    await this.classAction('InstanceActionEvent', 'event_start', call, options);
  }

  /** `failure` makes it an event that failed. */
  async finishEvent(
    instanceUuid: string,
    event: string,
    failure?: { readonly message: string; readonly traceback?: string },
    options: CallOptions = {},
  ): Promise<void> {
    const kwargs = {
      exc_val: failure?.message ?? null,
      exc_tb: failure?.traceback ?? null,
      want_result: false,
    };
    const call = { args: [instanceUuid, event], kwargs };
    await this.classAction('InstanceActionEvent', 'event_finish_with_failure', call, options);
  }

  /** What a user sees of a failure at the instance. */
  async createFault(fault: InstanceFault, options: CallOptions = {}): Promise<void> {
    const { instanceUuid, ...fields } = fault;
    await this.create(this.newObject('InstanceFault', { instance_uuid: instanceUuid, ...fields }), options);
  }

  #version(name: string): string {
    const [version] = Object.hasOwn(this.#release.objects, name) ? (this.#release.objects[name] ?? []) : [];
    if (version !== undefined) return version;
    throw new ComputeError('INVALID_ARGUMENT', `Nova's release ${this.#release.name} has no object ${name}`);
  }
}
