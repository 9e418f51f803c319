// Nova's conductor with a database in memory: what a compute host reads and writes there, by the same rules.

import type { Broker } from '../../src/agent/broker.js';
import { FileCommandJournal } from '../../src/agent/command-journal.js';
import { RpcFailure } from '../../src/agent/errors.js';
import { NovaObject } from '../../src/agent/nova-object.js';
import { pingEndpoint, type RpcMethod } from '../../src/agent/rpc-endpoint.js';
import { RpcServer } from '../../src/agent/rpc-server.js';
import { copyOf } from './sent.js';

type Args = Readonly<Record<string, unknown>>;

export interface Written {
  readonly object: string;
  readonly method: string;
  readonly fields: Args;
  readonly expected: readonly unknown[] | undefined;
}

export interface Event {
  readonly method: string;
  readonly instanceUuid: string;
  readonly event: string;
  readonly failure: unknown;
}

export class FakeConductor {
  readonly instances = new Map<string, NovaObject>();
  readonly deleted = new Map<string, NovaObject>();
  /** What Nova's database has of the networks of each instance: JSON. */
  readonly infoCaches = new Map<string, string>();
  /** Of volumes, BlockDeviceMapping. */
  readonly mappings: NovaObject[] = [];
  readonly written: Written[] = [];
  readonly events: Event[] = [];
  /** Of consoles, by the token: what it leads to, and for how many seconds. */
  readonly tokens = new Map<string, { readonly fields: Args; readonly seconds: unknown }>();
  /** Given back for another host. */
  readonly rescheduled: Args[] = [];
  /** How often expired tokens were removed. */
  cleanings = 0;
  /** What goes wrong in its database. */
  refuses: (object: string, method: string) => boolean = () => false;
  service: NovaObject | undefined;
  computeNode: NovaObject | undefined;
  #ids = 0;
  #server: RpcServer | undefined;

  async open(broker: Broker, journal: string): Promise<void> {
    this.#server = await RpcServer.open(broker, {
      topic: 'conductor',
      host: 'control',
      journal: await FileCommandJournal.open(journal),
      endpoints: [
        pingEndpoint('conductor'),
        {
          version: '3.0',
          methods: {
            object_action: this.#action,
            object_class_action_versions: ({ objname, objmethod, args, kwargs }) =>
              this.#classAction(`${objname}.${objmethod}`, args as unknown[], kwargs as Args),
          },
        },
        {
          namespace: 'compute_task',
          version: '1.24',
          methods: { build_instances: (args) => void this.rescheduled.push(args) },
        },
      ],
    });
  }

  async close(): Promise<void> {
    await this.#server?.close();
  }

  instance(uuid: string): NovaObject {
    const instance = this.instances.get(uuid);
    if (!instance) throw new RpcFailure({ class: 'InstanceNotFound', message: `no instance ${uuid}` });
    return instance;
  }

  /** It as the API sends it with a command, when these fields of it are saved. */
  asked(uuid: string, fields: Args): NovaObject {
    const stored = this.instance(uuid);
    for (const [field, value] of Object.entries(fields)) stored.set(field, value);
    const sent = copyOf(stored);
    sent.merge({});
    return sent;
  }

  finished(event: string): readonly Event[] {
    return this.events.filter((one) => one.method === 'event_finish_with_failure' && one.event === event);
  }

  readonly #action: RpcMethod = ({ objinst, objmethod, args, kwargs }) => {
    const object = objinst as NovaObject;
    const expected = (kwargs as Args)['expected_task_state'];
    const fields = Object.fromEntries(object.changes.map((field) => [field, object.get(field)]));
    this.written.push({
      object: object.name,
      method: String(objmethod),
      fields,
      expected: expected === undefined ? undefined : [expected].flat(),
    });
    if (this.refuses(object.name, String(objmethod)))
      throw new RpcFailure({ class: 'DBError', message: 'planted' });
    if (objmethod === 'authorize') return this.#authorize(fields, (args as unknown[])[0]);
    const updates = this.#apply(object, String(objmethod), fields, expected);
    return [{ ...updates, obj_what_changed: [] }, null];
  };

  #apply(object: NovaObject, method: string, fields: Args, expected: unknown): Args {
    if (method === 'create') return this.#create(object);
    if (object.name === 'InstanceInfoCache')
      this.infoCaches.set(String(fields['instance_uuid']), String(fields['network_info']));
    if (object.get('destination_type') === 'volume') return this.#map(object, method, fields);
    if (object.name === 'Service' && method === 'save') {
      for (const [field, value] of Object.entries(fields)) this.service?.set(field, value);
    }
    if (object.name !== 'Instance') return {};
    const uuid = String(object.get('uuid'));
    const stored = this.instance(uuid);
    if (method === 'destroy') {
      this.instances.delete(uuid);
      this.deleted.set(uuid, stored);
      const left = this.mappings.filter((one) => one.get('instance_uuid') !== uuid);
      this.mappings.splice(0, Number.POSITIVE_INFINITY, ...left);
      return {};
    }
    if (method === 'save') {
      this.#checkTaskState(stored, expected);
      for (const [field, value] of Object.entries(fields)) stored.set(field, value);
    }
    return Object.fromEntries(stored.fields.map((field) => [field, stored.get(field)]));
  }

  #authorize(fields: Args, seconds: unknown): unknown[] {
    const id = ++this.#ids;
    const token = `00000000-0000-4000-8000-${String(id).padStart(12, '0')}`;
    this.tokens.set(token, { fields, seconds });
    return [{ id, token, obj_what_changed: [] }, token];
  }

  #create(object: NovaObject): Args {
    const id = ++this.#ids;
    if (object.name === 'Service') this.service = object;
    if (object.name === 'ComputeNode') this.computeNode = object;
    if (object.name !== 'BlockDeviceMapping') return { id };
    const mapping = copyOf(object);
    for (const [field, value] of Object.entries({ id, attachment_id: null, delete_on_termination: false }))
      mapping.set(field, value);
    this.mappings.push(mapping);
    return Object.fromEntries(mapping.fields.map((field) => [field, mapping.get(field)]));
  }

  #map(object: NovaObject, method: string, fields: Args): Args {
    const at = this.mappings.findIndex((one) => one.get('id') === object.get('id'));
    const stored = this.mappings[at];
    if (method === 'destroy') {
      if (stored) this.mappings.splice(at, 1);
      return {};
    }
    if (!stored) throw new RpcFailure({ class: 'BDMNotFound', message: String(object.get('id')) });
    for (const [field, value] of Object.entries(fields)) stored.set(field, value);
    return {};
  }

  #mapping(volumeId: unknown, uuid: unknown): NovaObject {
    const found = this.mappings.find(
      (one) => one.get('volume_id') === volumeId && one.get('instance_uuid') === uuid,
    );
    if (!found) throw new RpcFailure({ class: 'VolumeBDMNotFound', message: String(volumeId) });
    return found;
  }

  #checkTaskState(stored: NovaObject, expected: unknown): void {
    const present = stored.get('task_state');
    if (expected === undefined || [expected].flat().some((one) => one === present)) return;
    const name = present === 'deleting' ? 'UnexpectedDeletingTaskStateError' : 'UnexpectedTaskStateError';
    throw new RpcFailure({ class: name, message: `its task is ${String(present)}` });
  }

  #infoCache(uuid: string): NovaObject {
    const network_info = this.infoCaches.get(uuid);
    if (network_info === undefined)
      throw new RpcFailure({ class: 'InstanceInfoCacheNotFound', message: uuid });
    const fields = { instance_uuid: uuid, network_info };
    return NovaObject.create({ name: 'InstanceInfoCache', version: '1.5', fields });
  }

  #classAction(method: string, args: readonly unknown[], kwargs: Args): unknown {
    const list = (objects: readonly NovaObject[]): NovaObject =>
      NovaObject.create({ name: 'InstanceList', version: '2.6', fields: { objects } });
    switch (method) {
      case 'Service.get_minimum_version':
        return 64;
      case 'Service.get_by_host_and_binary':
        return this.service ?? null;
      case 'ComputeNode.get_by_host_and_nodename':
        if (this.computeNode) return this.computeNode;
        throw new RpcFailure({ class: 'ComputeHostNotFound', message: 'no such host' });
      case 'Instance.get_by_uuid':
        return this.instance(String(args[0]));
      case 'InstanceInfoCache.get_by_instance_uuid':
        return this.#infoCache(String(args[0]));
      case 'BlockDeviceMapping.get_by_volume_and_instance':
        return this.#mapping(args[0], args[1]);
      case 'BlockDeviceMappingList.get_by_instance_uuid': {
        const objects = this.mappings.filter((one) => one.get('instance_uuid') === args[0]);
        return NovaObject.create({ name: 'BlockDeviceMappingList', version: '1.18', fields: { objects } });
      }
      case 'InstanceList.get_by_host':
        return list([...this.instances.values()].filter((one) => one.get('host') === args[0]));
      case 'InstanceList.get_by_filters': {
        const { uuid } = args[0] as { readonly uuid: readonly string[] };
        return list(uuid.flatMap((one) => this.deleted.get(one) ?? []));
      }
      case 'InstanceActionEvent.event_start':
      case 'InstanceActionEvent.event_finish_with_failure':
        this.events.push({
          method: method.split('.')[1] ?? '',
          instanceUuid: String(args[0]),
          event: String(args[1]),
          failure: kwargs['exc_val'] ?? undefined,
        });
        return null;
      case 'ConsoleAuthToken.clean_expired_console_auths':
        this.cleanings++;
        return null;
      case 'ConsoleAuthToken.clean_console_auths_for_instance':
        for (const [token, { fields }] of this.tokens)
          if (fields['instance_uuid'] === args[0]) this.tokens.delete(token);
        return null;
      default:
        throw new RpcFailure({ class: 'NotImplementedError', message: method });
    }
  }
}
