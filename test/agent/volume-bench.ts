// An agent with a Cinder in memory and a server that it has built; what Nova's API does of an attachment.
import { expect, onTestFinished, vi } from 'vitest';
import type { CinderOptions } from '../../src/agent/cinder/cinder.js';
import type { NovaObject } from '../../src/agent/nova-object.js';
import type { ComputeAgent } from '../../src/index.js';
import { FakeCinder, type FakeVolume } from './fake-cinder.js';
import { FaultBench, type FaultServices } from './fault-bench.js';
import { copyOf, request, type Sent, TARGET, UUID, WAIT } from './sent.js';

export class VolumeBench {
  readonly here: FaultBench;
  readonly cinder: FakeCinder;
  readonly #options: Partial<CinderOptions>;

  static async open(services: FaultServices, options: Partial<CinderOptions> = {}): Promise<VolumeBench> {
    const cinder = await FakeCinder.start();
    onTestFinished(() => cinder.stop());
    const here = await FaultBench.open(services);
    return new VolumeBench(here, cinder, options);
  }

  private constructor(here: FaultBench, cinder: FakeCinder, options: Partial<CinderOptions>) {
    this.here = here;
    this.cinder = cinder;
    this.#options = options;
  }

  async agent(): Promise<ComputeAgent> {
    const auth = { type: 'token', token: 'service' } as const;
    this.here.volume = { endpoint: this.cinder.url, auth, ...this.#options };
    return await this.here.agent();
  }

  /** With a server. */
  async ready(): Promise<ComputeAgent> {
    const agent = await this.agent();
    await this.here.build(agent);
    return agent;
  }

  /** The server's record, as the API sends it with a command. */
  get instance(): NovaObject {
    return copyOf(this.here.conductor.instance(UUID));
  }

  /** The first call of an attachment: its record at Nova. */
  async reserveName(volumeId: string, more: object = {}): Promise<NovaObject> {
    const args = { device: null, disk_bus: null, device_type: null, tag: null, multiattach: false };
    const { instance } = this;
    const answer = await this.here.client.call(TARGET, 'reserve_block_device_name', {
      ...args,
      instance,
      volume_id: volumeId,
      ...more,
    });
    return answer as NovaObject;
  }

  /** As the API sends an attachment: of a volume that is reserved. */
  async attaching(volume: FakeVolume, fields: object = {}, more: object = {}): Promise<Sent> {
    const bdm = await this.reserveName(volume.id, more);
    const { id: attachment_id } = this.cinder.reserve(volume, UUID);
    const stored = this.here.conductor.mappings.find((one) => one.get('id') === bdm.get('id'));
    for (const [field, value] of Object.entries({ attachment_id, ...fields })) {
      stored?.set(field, value);
      bdm.set(field, value);
    }
    return { method: 'attach_volume', args: { instance: this.instance, bdm: copyOf(bdm) } };
  }

  detaching(volume: FakeVolume): Sent {
    volume.status = 'detaching';
    const { id: volume_id } = volume;
    return { method: 'detach_volume', args: { instance: this.instance, volume_id, attachment_id: null } };
  }

  /** As the API sends a swap. */
  swapping(from: FakeVolume, to: FakeVolume): Sent {
    from.status = 'detaching';
    const ids = { old_volume_id: from.id, new_volume_id: to.id };
    const new_attachment_id = this.cinder.reserve(to, UUID).id;
    return { method: 'swap_volume', args: { instance: this.instance, ...ids, new_attachment_id } };
  }

  /** What it failed with; undefined where it did not. */
  async done(sent: Sent): Promise<unknown> {
    const event = `compute_${sent.method}`;
    const before = this.here.conductor.finished(event).length;
    await this.here.cast(sent);
    return await this.ended(sent, before + 1);
  }

  async ended({ method }: Sent, count = 1): Promise<unknown> {
    const ended = () => this.here.conductor.finished(`compute_${method}`);
    await vi.waitFor(() => expect(ended()).toHaveLength(count), WAIT);
    return ended().at(-1)?.failure;
  }

  async attached(volume: FakeVolume, fields: object = {}): Promise<void> {
    expect(await this.done(await this.attaching(volume, fields))).toBeUndefined();
    this.expectAttached(volume);
  }

  async terminated(): Promise<void> {
    const { args } = request('terminate');
    args.instance.set('uuid', UUID);
    await this.done({ method: 'terminate_instance', args });
  }

  /** Serials of what the guest has. */
  get disks(): unknown[] {
    const volumes = this.here.hypervisor.domains.get(UUID)?.instance.volumes ?? [];
    return volumes.map(({ connection }) => connection.serial);
  }

  mapping({ id }: FakeVolume): NovaObject | undefined {
    return this.here.conductor.mappings.find((one) => one.get('volume_id') === id);
  }

  attachmentsOf({ id }: FakeVolume): unknown[] {
    return [...this.cinder.attachments.values()].filter((one) => one.volume_id === id);
  }

  expectAttached(volume: FakeVolume): void {
    expect(this.disks).toContain(volume.id);
    expect(volume.status).toBe('in-use');
    expect(this.attachmentsOf(volume)).toMatchObject([{ status: 'attached', instance: UUID }]);
    expect(JSON.parse(String(this.mapping(volume)?.get('connection_info')))).toMatchObject({
      serial: volume.id,
    });
  }

  /** Nothing of it is left anywhere. */
  expectGone(volume: FakeVolume): void {
    expect(this.disks).not.toContain(volume.id);
    expect(volume.status).toBe('available');
    expect(this.attachmentsOf(volume)).toEqual([]);
    expect(this.mapping(volume)).toBeUndefined();
  }
}
