// The contract suite fails drivers that break the contract: each defect planted here is found by a test of the suite.
import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { describeDriverContract } from '../../src/driver/contract-suite.js';
import {
  type CacheImageOptions,
  type CacheOutcome,
  type ComputeDriver,
  ComputeError,
  type DriverCapabilities,
  type DriverEvent,
  FakeDriver,
  FakeHypervisor,
  type Flavor,
  type ImageCacheMetrics,
  type ImageMeta,
  type Instance,
  type InstanceInfo,
  type InstanceSummary,
  type InstanceUsage,
  instanceName,
  type NodeInventory,
  type PowerOffOptions,
  type RebootOptions,
  type RebootType,
  type RebuildOptions,
  type SpawnOptions,
  type SpawnResult,
  type UnrescueOptions,
  type UsageOptions,
} from '../../src/index.js';

/** A test framework of forty lines: runs the suite in order and gives the names of the tests that failed. */
async function failuresOf(makeDriver: (hypervisor: FakeHypervisor) => ComputeDriver): Promise<string[]> {
  type Run = () => Promise<void>;
  interface Scope {
    readonly before: Run[];
    readonly after: Run[];
    readonly items: (Scope | { readonly name: string; readonly test: Run })[];
  }
  const newScope = (): Scope => ({ before: [], after: [], items: [] });
  const root = newScope();
  let scope = root;
  const hypervisor = new FakeHypervisor();
  let lastId = 0;
  describeDriverContract('planted', {
    describe: (_name, define) => {
      const outer = scope;
      scope = newScope();
      outer.items.push(scope);
      define();
      scope = outer;
    },
    it: (name, test) => scope.items.push({ name, test }),
    before: (run) => scope.before.push(run),
    after: (run) => scope.after.push(run),
    makeDriver: () => makeDriver(hypervisor),
    makeInstance: () => {
      lastId += 1;
      return makeInstance(lastId);
    },
    makeStubbornInstance: () => {
      lastId += 1;
      return { ...makeInstance(lastId), displayName: 'stubborn' };
    },
    leftovers: async ({ uuid }) => [
      ...(hypervisor.disks.has(uuid) ? ['disk'] : []),
      ...[...hypervisor.taps].filter(([, owner]) => owner === uuid).map(([tap]) => tap),
    ],
    consoleText: 'booted',
    limits: { callMs: 300, spawnMs: 500, shutdownMs: 30, concurrency: 2 },
  });
  const failures: string[] = [];
  const attempt = async (name: string, run: Run): Promise<void> => {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error('late')), 2_000);
    });
    await Promise.race([run(), late]).catch(() => failures.push(name));
    clearTimeout(timer);
  };
  const runScope = async (one: Scope): Promise<void> => {
    for (const run of one.before) await attempt('before', run);
    for (const item of one.items) {
      if ('test' in item) await attempt(item.name, item.test);
      else await runScope(item);
    }
    for (const run of one.after) await attempt('after', run);
  };
  await runScope(root);
  return failures;
}

function makeInstance(id: number): Instance {
  const portId = randomUUID();
  return {
    uuid: randomUUID(),
    id,
    name: instanceName(id),
    displayName: 'guest',
    flavor: { name: 'tiny', vcpus: 1, memoryMb: 64, rootGb: 0, ephemeralGb: 0, swapMb: 0, extraSpecs: {} },
    image: { id: 'image', diskFormat: 'raw', source: { type: 'file', path: '/image' }, properties: {} },
    vifs: [{ id: portId, mac: 'fa:16:3e:00:00:01', bridge: 'br', tap: `tap${portId.slice(0, 11)}` }],
    createdAt: new Date().toISOString(),
  };
}

class Base extends FakeDriver {
  constructor(hypervisor: FakeHypervisor) {
    super({
      hypervisor,
      stepMs: { definition: 2, start: 2 },
      guest: ({ displayName }) => ({ shutdownMs: displayName === 'stubborn' ? 'never' : 0 }),
    });
  }
}

const DEFECTS: Readonly<Record<string, new (hypervisor: FakeHypervisor) => FakeDriver>> = {
  'claims a capability that it has not': class extends Base {
    override readonly capabilities: DriverCapabilities = {
      ...new FakeDriver().capabilities,
      softReboot: 1 as never,
    };
  },
  'forgets at a reboot that an instance is rescued': class extends Base {
    override async reboot(instance: Instance, type: RebootType, options?: RebootOptions): Promise<void> {
      this.hypervisor.unrescue(instance.uuid);
      await super.reboot(instance, type, options);
    }
  },
  'starts what was stopped when it rebuilds it': class extends Base {
    override async rebuild(
      instance: Instance,
      image: ImageMeta,
      options?: RebuildOptions,
    ): Promise<SpawnResult> {
      const result = await super.rebuild(instance, image, options);
      await super.powerOn(instance);
      return result;
    }
  },
  'leaves an instance stopped when its rebuild is refused': class extends Base {
    override async rebuild(
      instance: Instance,
      image: ImageMeta,
      options?: RebuildOptions,
    ): Promise<SpawnResult> {
      try {
        return await super.rebuild(instance, image, options);
      } catch (error) {
        this.hypervisor.stop(instance.uuid, 'destroyed');
        throw error;
      }
    }
  },
  'starts an unrescued instance anew': class extends Base {
    override async unrescue(instance: Instance, options?: UnrescueOptions): Promise<void> {
      await super.unrescue(instance, options);
      await super.reboot(instance, 'hard');
    }
  },
  'implements what it says it cannot': class extends Base {
    override async suspend(): Promise<void> {}
  },
  'rejects with a plain Error': class extends Base {
    override async getInfo(uuid: string): Promise<InstanceInfo> {
      return await super.getInfo(uuid).catch(() => {
        throw new Error('unknown');
      });
    }
  },
  'takes any uuid': class extends Base {
    override async instanceExists(): Promise<boolean> {
      return false;
    }
  },
  'fails to destroy what is not there': class extends Base {
    override async destroy(instance: Instance): Promise<void> {
      await super.getInfo(instance.uuid);
      await super.destroy(instance);
    }
  },
  'leaves the tap': class extends Base {
    override async destroy(instance: Instance): Promise<void> {
      await super.destroy(instance);
      this.hypervisor.addTaps(instance);
    }
  },
  'unplugs what runs': class extends Base {
    override async unplugVifs(instance: Instance): Promise<void> {
      this.hypervisor.removeTaps(instance.uuid);
    }
  },
  'starts without the filter that was asked for': class extends Base {
    override async spawn(instance: Instance, options?: SpawnOptions): Promise<SpawnResult> {
      const vifs = instance.vifs.map(({ filter: _ignored, ...vif }) => vif);
      return await super.spawn({ ...instance, vifs }, options);
    }
  },
  'runs before its ports are plugged in': class extends Base {
    override async spawn(instance: Instance, options: SpawnOptions = {}): Promise<SpawnResult> {
      const result = await super.spawn(instance, { ...options, beforeRun: undefined });
      await options.beforeRun?.();
      return result;
    }
  },
  'fails to stop what is stopped': class extends Base {
    override async powerOff(uuid: string, options?: PowerOffOptions): Promise<void> {
      const { powerState } = await super.getInfo(uuid);
      if (powerState === 'shutdown') throw new ComputeError('INVALID_STATE', 'stopped already');
      await super.powerOff(uuid, options);
    }
  },
  'watches disks that are not there': class extends Base {
    override async setDiskThreshold(uuid: string): Promise<void> {
      await super.getInfo(uuid);
    }
  },
  'pauses what is stopped': class extends Base {
    override async pause(uuid: string): Promise<void> {
      await super.getInfo(uuid);
      this.hypervisor.pause(uuid);
    }
  },
  'starts what is running': class extends Base {
    override async powerOn(instance: Instance): Promise<void> {
      if (this.hypervisor.domains.has(instance.uuid)) this.hypervisor.stop(instance.uuid, 'destroyed');
      await super.powerOn(instance);
    }
  },
  'does not give the guest its time': class extends Base {
    override async reboot(instance: Instance, _type: RebootType, options?: RebootOptions): Promise<void> {
      await super.reboot(instance, 'hard', options);
    }
  },
  'waits for ever for a guest that does not listen': class extends Base {
    override async reboot(instance: Instance, type: RebootType, options?: RebootOptions): Promise<void> {
      await super.reboot(instance, type, { ...options, shutdownTimeoutMs: 60_000 });
    }
  },
  'spawns over what exists': class extends Base {
    override async spawn(instance: Instance, options?: SpawnOptions): Promise<SpawnResult> {
      if (this.hypervisor.domains.has(instance.uuid)) await super.destroy(instance);
      return await super.spawn(instance, options);
    }
  },
  'announces no steps': class extends Base {
    override async spawn(instance: Instance, options: SpawnOptions = {}): Promise<SpawnResult> {
      return await super.spawn(instance, { ...options, onStep: undefined });
    }
  },
  'does not hear the signal': class extends Base {
    override async spawn(instance: Instance, options: SpawnOptions = {}): Promise<SpawnResult> {
      return await super.spawn(instance, { ...options, signal: undefined });
    }
  },
  'leaves a disk when a launch is aborted': class extends Base {
    override async spawn(instance: Instance, options: SpawnOptions = {}): Promise<SpawnResult> {
      return await super.spawn(instance, options).catch((error: unknown) => {
        this.hypervisor.addDisk(instance.uuid);
        throw error;
      });
    }
  },
  'has no deadline': class extends Base {
    override async spawn(instance: Instance, options: SpawnOptions = {}): Promise<SpawnResult> {
      return await super.spawn(instance, { ...options, timeoutMs: 60_000 });
    }
  },
  'shrinks disks': class extends Base {
    override async migrateDiskAndPowerOff(instance: Instance, flavor: Flavor): Promise<void> {
      const { rootGb, ephemeralGb } = instance.flavor;
      await super.migrateDiskAndPowerOff(instance, { ...flavor, rootGb, ephemeralGb });
    }
  },
  'cannot take a resize back': class extends Base {
    override async finishRevertMigration(instance: Instance): Promise<void> {
      await super.confirmMigration(instance);
    }
  },
  'starts what was to stay stopped': class extends Base {
    override async finishMigration(instance: Instance): Promise<void> {
      await super.finishMigration(instance);
    }
  },
  'stops the guest to change it live': class extends Base {
    override async liveResize(instance: Instance, flavor: Flavor): Promise<void> {
      await super.liveResize(instance, flavor);
      await super.reboot({ ...instance, flavor }, 'hard');
    }
  },
  'lists nothing': class extends Base {
    override async listInstances(): Promise<InstanceSummary[]> {
      return [];
    }
  },
  'tells no usage': class extends Base {
    override async getInstancesUsage(): Promise<InstanceUsage[]> {
      return [];
    }
  },
  'tells usage that nobody asked for': class extends Base {
    override async getInstancesUsage(): Promise<InstanceUsage[]> {
      return await super.getInstancesUsage({ groups: ['disk', 'network'] });
    }
  },
  'tells usage of what is stopped': class extends Base {
    override async getInstancesUsage(options?: UsageOptions): Promise<InstanceUsage[]> {
      return (await super.getInstancesUsage(options)).map((usage) => ({ ...usage, rssBytes: 1 }));
    }
  },
  'counts the vCPUs of what is stopped': class extends Base {
    override async getAvailableResource(): ReturnType<FakeDriver['getAvailableResource']> {
      const vcpusUsed = [...this.hypervisor.domains.values()].length;
      return { ...(await super.getAvailableResource()), vcpusUsed };
    }
  },
  'tells another inventory than it reports': class extends Base {
    override async getInventory(): Promise<NodeInventory> {
      return { ...(await super.getInventory()), memoryMb: 1 };
    }
  },
  'ages what is in use': class extends Base {
    override async manageImageCache(): Promise<void> {
      this.hypervisor.images.clear();
    }
  },
  'fetches what is cached': class extends Base {
    override async cacheImage(image: ImageMeta, options?: CacheImageOptions): Promise<CacheOutcome> {
      this.hypervisor.removeImage(image.id);
      return await super.cacheImage(image, options);
    }
  },
  'counts nothing of its cache': class extends Base {
    override async getImageCacheMetrics(): Promise<ImageCacheMetrics> {
      return { ...(await super.getImageCacheMetrics()), hits: 0 };
    }
  },
  'gives the whole console': class extends Base {
    override async getConsoleOutput(uuid: string): Promise<Uint8Array> {
      return await super.getConsoleOutput(uuid);
    }
  },
  'tells no events': class extends Base {
    override events(): AsyncIterableIterator<DriverEvent> {
      return super.events({ signal: AbortSignal.abort() });
    }
  },
  'numbers all events alike': class extends Base {
    override events(options: { readonly signal?: AbortSignal } = {}): AsyncIterableIterator<DriverEvent> {
      const events = super.events(options);
      const next = events.next.bind(events);
      events.next = async () => {
        const result = await next();
        return result.done ? result : { done: false, value: { ...result.value, sequence: 1 } };
      };
      return events;
    }
  },
  'works on after close': class extends Base {
    override async getAvailableResource(): ReturnType<FakeDriver['getAvailableResource']> {
      const other = new FakeDriver({ hypervisor: this.hypervisor });
      await other.initHost();
      return await other.getAvailableResource();
    }
  },
  'takes its instances with it when it closes': class extends Base {
    override async close(): Promise<void> {
      await super.close();
      for (const uuid of this.hypervisor.domains.keys()) this.hypervisor.stop(uuid, 'destroyed');
    }
  },
};

it('passes a driver without a defect', async () => {
  expect(await failuresOf((hypervisor) => new Base(hypervisor))).toEqual([]);
});

it.concurrent.each(Object.entries(DEFECTS))('fails a driver that %s', async (_what, Defective) => {
  const failures = await failuresOf((hypervisor) => new Defective(hypervisor));
  expect(failures).not.toEqual([]);
});
