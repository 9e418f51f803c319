// The files of one instance that this driver owns: `<instances_path>/<uuid>/` disks, disk.config, disk.info, console.log, libvirt.xml.
import { join } from 'node:path';
import type { DiskName } from '../image/types.js';
import { callNative, changeFiles } from '../native.js';
import type { QemuUser } from './host-probe.js';
import type { CallContext } from './hypervisor.js';
import { formatDisks, type InstanceDisks, parseDisks } from './instance-disks.js';

/** Nova's default of `[libvirt] console log` reads: the last 100 KiB. */
export const CONSOLE_BYTES = 102_400;
const SMALL_FILE_BYTES = 1 << 20;

export class InstanceFiles {
  readonly directory: string;
  readonly consoleLog: string;
  readonly definition: string;
  /** UEFI variables; libvirt makes it where the firmware wants one. */
  readonly nvram: string;
  readonly configDrive: string;
  /** Nova's name: the drive that its rescue system reads. */
  readonly rescueConfigDrive: string;
  /** Nova's name: the definition it had before it was rescued. */
  readonly unrescue: string;
  readonly diskInfo: string;
  readonly #resizeInfo: string;

  constructor(instancesPath: string, uuid: string) {
    this.directory = join(instancesPath, uuid);
    this.consoleLog = join(this.directory, 'console.log');
    this.definition = join(this.directory, 'libvirt.xml');
    this.nvram = join(this.directory, 'nvram.fd');
    this.configDrive = join(this.directory, 'disk.config');
    this.rescueConfigDrive = join(this.directory, 'disk.config.rescue');
    this.unrescue = join(this.directory, 'unrescue.xml');
    this.diskInfo = join(this.directory, 'disk.info');
    this.#resizeInfo = join(this.directory, 'resize.info');
  }

  disk(name: DiskName = 'disk'): string {
    return join(this.directory, name);
  }

  async exist(context: CallContext): Promise<boolean> {
    return (await this.#stat(this.directory, context)) !== undefined;
  }

  /** QEMU's user must be able to pass through, not to list. */
  async makeDirectory(context: CallContext): Promise<void> {
    await changeFiles((addon, id) => addon.makeDirectory(this.directory, 0o711, id), context);
  }

  /** Made before QEMU runs: its user may not create files in the directory. */
  async makeConsoleLog(user: QemuUser | undefined, context: CallContext): Promise<void> {
    await changeFiles(
      (addon, id) => addon.writeFile(this.consoleLog, '', { how: 'create', mode: 0o600, sync: false }, id),
      context,
    );
    if (user) {
      await changeFiles((addon, id) => addon.setOwner(this.consoleLog, user.uid, user.gid, id), context);
    }
  }

  async writeDefinition(xml: string, context: CallContext): Promise<void> {
    await this.#write(this.definition, xml, context);
  }

  async writeConfigDrive(
    image: Uint8Array,
    context: CallContext,
    path: string = this.configDrive,
  ): Promise<void> {
    await changeFiles(
      (addon, id) => addon.writeFile(path, image, { how: 'create', mode: 0o600, sync: false }, id),
      context,
    );
  }

  async writeDisks(disks: InstanceDisks, context: CallContext): Promise<void> {
    await this.#write(this.diskInfo, formatDisks(disks), context);
  }

  /** Undefined where the instance has no disk of ours. */
  async readDisks(context: CallContext): Promise<InstanceDisks | undefined> {
    return await this.#readDisks(this.diskInfo, context);
  }

  /** Undefined where there is none. */
  async readDefinition(path: string, context: CallContext): Promise<string | undefined> {
    if (!(await this.#stat(path, context))) return undefined;
    return (await callNative((addon, id) => addon.readFile(path, SMALL_FILE_BYTES, id), context)).toString();
  }

  /** The definition as it stands is what an unrescue gives back. */
  async keepDefinition(xml: string, context: CallContext): Promise<void> {
    await this.#write(this.unrescue, xml, context);
  }

  /** Idempotent. The hold on the base goes after the disk that stands on it. */
  async removeRescue(context: CallContext): Promise<void> {
    const disk = this.disk('disk.rescue');
    for (const path of [disk, `${disk}.base`, this.rescueConfigDrive, this.unrescue]) {
      await changeFiles((addon, id) => addon.removeTree(path, id), context);
    }
  }

  /** What they were before a resize that is under way. */
  async writeKept(disks: InstanceDisks, context: CallContext): Promise<void> {
    await this.#write(this.#resizeInfo, formatDisks(disks), context, true);
  }

  /** Undefined where no resize is under way. */
  async readKept(context: CallContext): Promise<InstanceDisks | undefined> {
    return await this.#readDisks(this.#resizeInfo, context);
  }

  async removeKept(context: CallContext): Promise<void> {
    await changeFiles((addon, id) => addon.removeTree(this.#resizeInfo, id), context);
  }

  async hasDisk(context: CallContext): Promise<boolean> {
    return (await this.#stat(this.disk(), context)) !== undefined;
  }

  async hasConfigDrive(context: CallContext): Promise<boolean> {
    return (await this.#stat(this.configDrive, context)) !== undefined;
  }

  async allocatedBytes(name: DiskName, context: CallContext): Promise<number> {
    return (await this.#stat(this.disk(name), context))?.allocatedBytes ?? 0;
  }

  /** Everything below the directory and itself. Idempotent. */
  async remove(context: CallContext): Promise<void> {
    await changeFiles((addon, id) => addon.removeTree(this.directory, id), context);
  }

  async #readDisks(path: string, context: CallContext): Promise<InstanceDisks | undefined> {
    if (!(await this.#stat(path, context))) return undefined;
    const text = await callNative((addon, id) => addon.readFile(path, SMALL_FILE_BYTES, id), context);
    return parseDisks(text.toString('utf8'), path);
  }

  async #write(path: string, text: string, context: CallContext, sync = false): Promise<void> {
    await changeFiles(
      (addon, id) => addon.writeFile(path, text, { how: 'replace', mode: 0o600, sync }, id),
      context,
    );
  }

  async #stat(path: string, context: CallContext): Promise<{ readonly allocatedBytes: number } | undefined> {
    return await callNative((addon, id) => addon.statFile(path, id), context);
  }
}
