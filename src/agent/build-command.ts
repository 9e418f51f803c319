// build_and_run_instance: a server of the scheduler's becomes a guest here, goes to another host, or ends in ERROR.
import { ComputeError, type ErrorCode } from '../driver/errors.js';
import type { LaunchRequest } from '../node/types.js';
import { buildRefusal } from './build-refusal.js';
import { AWAITED, EVENT, FAILED, NOWHERE } from './build-states.js';
import { type ComputeHost, stands } from './compute-host.js';
import type { CommandArguments } from './instance-command.js';
import { InstanceRecord, isDeletion, isGoing, powerCode, reasonOf } from './instance-record.js';
import { itemsOf, launchRequest, rootDevice } from './launch-message.js';
import { launchThrough } from './launch-through.js';
import type { PluggedNetworks } from './neutron/instance-networks.js';
import { networkWish, ownerOf } from './neutron/network-wish.js';
import { noNeutron } from './neutron/no-neutron.js';
import { outlast } from './outage.js';
import { persist } from './persist.js';
import type { RpcInvocation, RpcMethod } from './rpc-endpoint.js';
import { spentError } from './spent-error.js';

/** In which an earlier process may have left it. */
const STATES = [...AWAITED, 'networking', 'block_device_mapping', 'spawning'];

/** Another host would fail as this one does: what is wrong is the request, or the image. */
const FINAL: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'INVALID_ARGUMENT',
  'UNSUPPORTED',
  'FLAVOR_DISK_TOO_SMALL',
  'FLAVOR_MEMORY_TOO_SMALL',
  'FLAVOR_IMAGE_CONFLICT',
  'IMAGE_NOT_FOUND',
  'IMAGE_UNACCEPTABLE',
  'IMAGE_CHECKSUM_MISMATCH',
  'IMAGE_DOWNLOAD_FAILED',
  'UNAUTHORIZED',
  'NEUTRON_FAILED',
]);

/** Nova's ComputeManager.build_and_run_instance. */
export function buildCommand(host: ComputeHost): RpcMethod {
  const during =
    (work: (build: Build) => Promise<void>) =>
    async (args: CommandArguments, invocation: RpcInvocation): Promise<void> => {
      const record = new InstanceRecord(host, args['instance'], invocation.context);
      await host.busy.during(record.uuid, () => work(new Build(host, record, args, invocation)));
    };
  return Object.assign(
    during((build) => build.run()),
    { abandon: during((build) => build.abandon()), refuse: buildRefusal(host) },
  );
}

class Build {
  readonly #host: ComputeHost;
  readonly #record: InstanceRecord;
  readonly #args: CommandArguments;
  readonly #invocation: RpcInvocation;
  readonly #about: Readonly<Record<string, unknown>>;
  /** There may be something here, and it is of this build. */
  #mayStand: boolean;
  /** There may be ports, and they are of this build. */
  #hasPorts: boolean;

  constructor(host: ComputeHost, record: InstanceRecord, args: CommandArguments, invocation: RpcInvocation) {
    this.#host = host;
    this.#record = record;
    this.#args = args;
    this.#invocation = invocation;
    this.#mayStand = invocation.isRepeated;
    this.#hasPorts = invocation.isRepeated;
    this.#about = { instanceUuid: record.uuid, requestId: invocation.context['request_id'] };
  }

  async run(): Promise<void> {
    const record = this.#record;
    if (this.#invocation.isRepeated && !(await this.#isOurs())) {
      this.#host.log.info(`the build of ${record.uuid} was ended by an earlier process`, this.#about);
      // Which may not have lived to say so.
      if (record.vmState === 'active') await record.finishEvent(EVENT);
      return;
    }
    if (!this.#invocation.isRepeated) await this.#refuseKnown();
    await record.startEvent(EVENT);
    try {
      await this.#build();
    } catch (error) {
      if (this.#host.signal.aborted) throw error;
      await this.#fail(error);
      await record.finishEvent(EVENT, error);
      if (!isGoing(error)) throw error;
      this.#host.log.info(`instance ${record.uuid} was deleted before it was built`, this.#about);
      return;
    }
    await record.finishEvent(EVENT);
  }

  /** To no other host: it may end that one, too. Nova is told first, as the removal may be what ended this one. */
  async abandon(): Promise<void> {
    const record = this.#record;
    if (!(await record.refresh()) || record.vmState !== 'building' || isDeletion(record.taskState)) return;
    if (![null, undefined, this.#host.name].includes(record.object.get('host') as string)) return;
    const error = spentError(this.#invocation.method, record.uuid);
    await record.save(FAILED, [record.taskState as string | null]);
    await record.fault(error);
    if (await this.#remove()) {
      await this.#forget({});
      await this.#removeAllocations();
    }
    await record.finishEvent(EVENT, error);
  }

  /** No scheduler sends a server to the host that has it: such a message is not the truth, and must not end a guest. */
  async #refuseKnown(): Promise<void> {
    const { uuid } = this.#record;
    if (!(await stands(this.#host, uuid))) return;
    throw new ComputeError('INSTANCE_EXISTS', `instance ${uuid} is on this host, and is not built again`, {
      operation: 'build_and_run_instance',
      instanceUuid: uuid,
    });
  }

  /** Of one that an earlier process began: it may be done, deleted, or given to another host. */
  async #isOurs(): Promise<boolean> {
    const record = this.#record;
    if (!(await record.refresh()) || record.vmState !== 'building') return false;
    const host = record.object.get('host');
    if (host === this.#host.name) return true;
    if (host != null) return false;
    const { allocations } = await persist(this.#host.signal, () =>
      this.#host.placement.consumer(record.uuid),
    );
    if (Object.hasOwn(allocations, this.#host.nodeUuid)) return true;
    if (Object.keys(allocations).length > 0) return false;
    // It had been given back, as far as Placement.
    await this.#giveBack(new ComputeError('CLOSED', 'the agent ended while it built the instance'));
    return false;
  }

  async #build(): Promise<void> {
    const { name, nodeName, schedulers } = this.#host;
    const record = this.#record;
    const before = this.#invocation.isRepeated ? STATES : AWAITED;
    await record.save({ vm_state: 'building', task_state: null }, before);
    await record.save({ host: name, node: nodeName, launched_on: name });
    const request = launchRequest(record.object, this.#args);
    using networks = await this.#allocateNetworks();
    if (networks) await record.save({ task_state: 'block_device_mapping' }, ['networking']);
    await this.#nameRoot(rootDevice(request));
    const fromState = networks ? 'block_device_mapping' : null;
    await record.save({ task_state: 'spawning', root_device_name: rootDevice(request) }, [fromState]);
    await this.#launch({ ...request, networks: networks?.requests ?? [] }, networks?.plugged);
    const power = powerCode(await record.powerState());
    const fields = { vm_state: 'active', task_state: null, power_state: power, launched_at: new Date() };
    await record.save(fields, 'spawning');
    await schedulers.update(name, [record.object], record.call).catch((error: unknown) => {
      this.#host.log.debug(`the schedulers did not hear of ${record.uuid}: ${reasonOf(error)}`, this.#about);
    });
  }

  /** Undefined: it has none. */
  async #allocateNetworks(): Promise<PluggedNetworks | undefined> {
    const { networks } = this.#host;
    const record = this.#record;
    const wish = networkWish(this.#args['requested_networks']);
    if (wish === 'none' || (wish === 'any' && !networks)) return undefined;
    if (!networks) throw noNeutron(record.uuid);
    await record.save({ vm_state: 'building', task_state: 'networking' }, [null]);
    const { security_groups: groups } = this.#args;
    const names = Array.isArray(groups) ? groups.map(String) : [];
    this.#hasPorts = true;
    return await networks.allocate(ownerOf(record), wish, names, record.call);
  }

  async #nameRoot(device: string): Promise<void> {
    const root = itemsOf(this.#args['block_device_mapping']).find((one) => one.get('boot_index') === 0);
    if (!root) return;
    root.set('device_name', device);
    await persist(this.#host.signal, () => this.#host.conductor.save(root, this.#record.call));
  }

  /** One that stands was launched by an earlier process. */
  async #launch(request: LaunchRequest, plugged: PluggedNetworks['plugged']): Promise<void> {
    const { log } = this.#host;
    const { uuid } = this.#record;
    this.#mayStand = true;
    try {
      const { isRepeated } = this.#invocation;
      const options = { isRepeated, ...(plugged && { beforeRun: plugged }) };
      const launched = await launchThrough(this.#host, this.#record, request, options);
      for (const { step, milliseconds } of launched?.steps ?? []) {
        const text = `launch of ${uuid}: ${step} took ${Math.round(milliseconds)} ms`;
        log.info(text, { ...this.#about, step, milliseconds });
      }
    } catch (error) {
      // It is no build of ours.
      const isOther = ComputeError.is(error) && error.code === 'INSTANCE_EXISTS';
      if (isOther && !this.#invocation.isRepeated) this.#mayStand = false;
      throw error;
    }
  }

  async #fail(error: unknown): Promise<void> {
    const record = this.#record;
    try {
      const isRemoved = await this.#remove();
      // A user deletes it meanwhile: that command does the rest.
      if (isGoing(error) || !(await record.refresh()) || record.taskState === 'deleting') return;
      await record.fault(error);
      const isFinal = ComputeError.is(error) && FINAL.has(error.code);
      if (!isRemoved) await record.save(FAILED);
      else if (!isFinal && this.#retry) await this.#giveBack(error);
      else {
        await this.#forget(FAILED);
        await this.#removeAllocations();
      }
    } catch (cause) {
      if (this.#host.signal.aborted) throw cause;
      if (!isGoing(cause)) throw cause;
    }
  }

  /** False: something may still stand here, so the server and its allocations stay this host's, for its user to delete. */
  async #remove(): Promise<boolean> {
    const { node, signal, log } = this.#host;
    try {
      const { uuid } = this.#record;
      if (this.#mayStand) await outlast(this.#host, uuid, () => node.terminate(uuid, { signal }));
    } catch (error) {
      if (signal.aborted) throw error;
      log.warn(`what was built of ${this.#record.uuid} is not removed: ${reasonOf(error)}`, this.#about);
      return false;
    }
    if (this.#hasPorts) await this.#releaseNetworks();
    return true;
  }

  /** Of those that stay Neutron knows whose they were: a deletion finds them. */
  async #releaseNetworks(): Promise<void> {
    const { networks, signal, log } = this.#host;
    const given = itemsOf(this.#args['requested_networks']).map((one) => String(one.get('port_id')));
    try {
      await networks?.release(this.#record.uuid, given, this.#record.call);
    } catch (error) {
      if (signal.aborted) throw error;
      log.warn(`the ports of ${this.#record.uuid} could not be released: ${reasonOf(error)}`, this.#about);
    }
  }

  get #retry(): Record<string, unknown> | undefined {
    const { retry } = (this.#args['filter_properties'] ?? {}) as { retry?: Record<string, unknown> };
    return retry ?? undefined;
  }

  async #forget(fields: Readonly<Record<string, unknown>>): Promise<void> {
    await this.#record.save({ ...NOWHERE, ...fields });
  }

  async #removeAllocations(): Promise<void> {
    const { placement, signal } = this.#host;
    await persist(signal, () => placement.removeConsumer(this.#record.uuid));
  }

  /** To the conductor, for the next host of its list; it puts the instance in ERROR where there is none. */
  async #giveBack(error: unknown): Promise<void> {
    const { client, release, log } = this.#host;
    await this.#forget({ task_state: 'scheduling' });
    await this.#removeAllocations();
    const {
      image,
      filter_properties,
      admin_password,
      injected_files,
      requested_networks,
      security_groups,
      block_device_mapping,
      request_spec,
      host_list,
    } = this.#args;
    const retry = { ...this.#retry, exc: [reasonOf(error)], exc_reason: reasonOf(error) };
    const target = {
      topic: 'conductor',
      namespace: 'compute_task',
      version: release.rpcVersions.computeTask,
    };
    const request = {
      instances: [this.#record.object],
      image,
      filter_properties: { ...(filter_properties as object), retry },
      admin_password,
      injected_files,
      requested_networks,
      security_groups,
      block_device_mapping,
      legacy_bdm: false,
      request_spec,
      host_lists: [host_list],
    };
    // A process that was killed after it leaves a second one to the next: both are one.
    const { uniqueId } = this.#invocation;
    await persist(this.#host.signal, () =>
      client.cast(target, 'build_instances', request, { ...this.#record.call, uniqueId }),
    );
    log.warn(`the build of ${this.#record.uuid} goes to another host: ${reasonOf(error)}`, this.#about);
  }
}
