// The files a fake instance has on a real disk, for tests of what is left behind.
import { join } from 'node:path';
import { configDriveImage } from '../config-drive/config-drive.js';
import type { ConfigDriveContent } from '../driver/config-drive.js';
import type { Instance } from '../driver/model.js';
import { callNative } from '../native.js';

/** Behind the names of files that a rebuild makes. */
export const REBUILD = '.rebuild';

/** Written under `<instancesPath>/<uuid>`; without a path the fake keeps its disks in memory only. */
export class FakeFiles {
  readonly #instancesPath: string | undefined;

  constructor(instancesPath: string | undefined) {
    this.#instancesPath = instancesPath;
  }

  async writeDisks({ uuid, flavor, image }: Instance, suffix = ''): Promise<void> {
    if (this.#instancesPath === undefined) return;
    const directory = join(this.#instancesPath, uuid);
    const call = { operation: 'spawn', instanceUuid: uuid };
    await callNative((addon, id) => addon.makeDirectory(directory, 0o711, id), call);
    await this.#write(uuid, `disk${suffix}`, `fake disk of ${image.id}\n`);
    if (flavor.ephemeralGb > 0) await this.#write(uuid, `disk.local${suffix}`, 'fake ephemeral disk\n');
    if (flavor.swapMb > 0) await this.#write(uuid, `disk.swap${suffix}`, 'fake swap disk\n');
  }

  async writeConfigDrive(
    instance: Instance,
    content: ConfigDriveContent | undefined,
    suffix = '',
  ): Promise<void> {
    const { uuid, configDrive } = instance;
    if (configDrive === undefined) return;
    const image = configDriveImage(instance, configDrive, content);
    if (this.#instancesPath !== undefined) await this.#write(uuid, `disk.config${suffix}`, image);
  }

  async writeRescue(instance: Instance, imageId: string, drive?: ConfigDriveContent): Promise<void> {
    if (this.#instancesPath === undefined) return;
    await this.#write(instance.uuid, 'disk.rescue', `fake disk of ${imageId}\n`);
    if (drive) await this.writeConfigDrive(instance, drive, '.rescue');
  }

  async removeRescue(uuid: string): Promise<void> {
    for (const name of ['disk.rescue', 'disk.config.rescue']) await this.remove(uuid, name);
  }

  /** What a rebuild made takes the place of what stood. */
  async adopt(uuid: string): Promise<void> {
    if (this.#instancesPath === undefined) return;
    const directory = join(this.#instancesPath, uuid);
    const call = { operation: 'rebuild', instanceUuid: uuid };
    const names = await callNative((addon, id) => addon.listDirectory(directory, id), call);
    for (const name of names.filter((one) => one.endsWith(REBUILD))) {
      const source = join(directory, name);
      const target = source.slice(0, -REBUILD.length);
      await callNative((addon, id) => addon.publishFile(source, target, false, id), call);
    }
  }

  async removeRebuild(uuid: string): Promise<void> {
    for (const name of ['disk', 'disk.local', 'disk.swap', 'disk.config']) {
      await this.remove(uuid, `${name}${REBUILD}`);
    }
  }

  async writeDefinition(uuid: string, name: string): Promise<void> {
    if (this.#instancesPath === undefined) return;
    await this.#write(
      uuid,
      'libvirt.xml',
      `<domain type="fake"><name>${name}</name><uuid>${uuid}</uuid></domain>\n`,
    );
  }

  /** Before a resize. */
  async keepDisk(uuid: string): Promise<void> {
    if (this.#instancesPath !== undefined) await this.#write(uuid, 'disk.resize', 'fake disk\n');
  }

  /** Without one is success. */
  async dropKept(uuid: string): Promise<void> {
    const path = this.#instancesPath;
    if (path === undefined) return;
    await callNative((addon, id) => addon.removeTree(join(path, uuid, 'disk.resize'), id), {
      operation: 'resize',
      instanceUuid: uuid,
    });
  }

  /** All of it, or that file. */
  async remove(uuid: string, name = ''): Promise<void> {
    const path = this.#instancesPath;
    if (path === undefined) return;
    await callNative((addon, id) => addon.removeTree(join(path, uuid, name), id), {
      operation: 'destroy',
      instanceUuid: uuid,
    });
  }

  async #write(uuid: string, name: string, data: string | Uint8Array): Promise<void> {
    const path = join(this.#instancesPath ?? '', uuid, name);
    const options = { how: 'create', mode: 0o600, sync: false } as const;
    await callNative((addon, id) => addon.writeFile(path, data, options, id), {
      operation: 'spawn',
      instanceUuid: uuid,
    });
  }
}
