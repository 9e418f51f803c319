// The devices element: every device of the domain, in libvirt's own order.
import type { Instance } from '../../../driver/model.js';
import { element, textElement, type XmlElement } from '../element.js';
import type { DomainHost } from '../host.js';
import type { Platform } from '../platform.js';
import type { Guest } from '../vocabulary/guest.js';
import { cdromElement } from './cdrom.js';
import { agentChannelElement } from './channel.js';
import { pciePortElements, scsiControllerElement, usbControllerElement } from './controller.js';
import { diskElement } from './disk.js';
import { type DiskPlace, diskLayout, placeVolumes } from './disk-layout.js';
import { graphicsElement } from './graphics.js';
import { inputElements } from './input.js';
import { interfaceElement } from './interface.js';
import { memballoonElement } from './memballoon.js';
import { panicElement } from './panic.js';
import { rngElement } from './rng.js';
import { serialElements } from './serial.js';
import { tpmElement } from './tpm.js';
import { videoElement } from './video.js';
import { volumeElement } from './volume.js';
import { watchdogElement } from './watchdog.js';

export function devicesElement(
  instance: Instance,
  guest: Guest,
  platform: Platform,
  host: DomainHost,
): XmlElement {
  const volumes = instance.volumes ?? [];
  const disks = diskLayout(guest, platform, host, volumes);
  const [first, last] = [disks.filter((one) => !one.bootOrder), disks.filter((one) => one.bootOrder)];
  const diskOf = (disk: DiskPlace): XmlElement =>
    (disk.device === 'cdrom' ? cdromElement : diskElement)(disk, guest, host);
  const inputs = inputElements(guest, platform, host);
  const usb =
    disks.some((disk) => disk.bus === 'usb') || inputs.some((input) => input.attributes.bus === 'usb');
  // The emulator belongs to the host's architecture, not to an i686 guest on it.
  const emulator = platform.architecture === host.architecture ? host.emulator : undefined;
  return element('devices', {}, [
    emulator === undefined ? undefined : textElement('emulator', emulator),
    ...first.map(diskOf),
    ...placeVolumes(volumes, first).map((volume) => volumeElement(volume, guest, host)),
    // Guests name disks by their order.
    ...last.map(diskOf),
    scsiControllerElement(guest, platform, disks),
    usbControllerElement(platform, usb),
    ...pciePortElements(platform, host),
    ...instance.vifs.map((vif) => interfaceElement(vif, guest, platform, host)),
    ...serialElements(guest, platform, host),
    agentChannelElement(guest),
    tpmElement(guest, platform),
    ...inputs,
    graphicsElement(host),
    videoElement(guest, platform, host),
    watchdogElement(guest, platform),
    memballoonElement(guest, host),
    rngElement(guest, host),
    panicElement(guest, platform),
  ]);
}
