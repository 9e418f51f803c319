// Controllers that are not left to libvirt: SCSI, and no USB where nothing needs it.
import { element, type XmlElement } from '../element.js';
import type { HostFacts } from '../host.js';
import type { Platform } from '../platform.js';
import type { Guest } from '../vocabulary/guest.js';
import { unsupportedTerm } from '../vocabulary/rule.js';
import type { DiskPlace } from './disk-layout.js';

/**
 * Undefined where neither a disk nor the image asks for SCSI. The default is virtio-scsi, not libvirt's lsilogic on x86,
 * for which many guests have no driver.
 */
export function scsiControllerElement(
  guest: Guest,
  platform: Platform,
  disks: readonly DiskPlace[],
): XmlElement | undefined {
  const model = guest.scsiModel;
  if (model === undefined && !disks.some((disk) => disk.bus === 'scsi')) return undefined;
  if (model === 'ibmvscsi' && !platform.architecture.startsWith('ppc64')) {
    throw unsupportedTerm('hw_scsi_model', model, `not on ${platform.architecture}`);
  }
  const packed = guest.packedRing && (model ?? 'virtio-scsi') === 'virtio-scsi';
  return element('controller', { type: 'scsi', index: 0, model: model ?? 'virtio-scsi' }, [
    packed ? element('driver', { packed: 'on' }) : undefined,
  ]);
}

/**
 * Without an index: libvirt puts its own devices on these too, and what is left over is free for attaching. Left to
 * libvirt there is one port more than devices. On i440fx and pseries slots are many.
 */
export function pciePortElements({ architecture, q35, machine }: Platform, host: HostFacts): XmlElement[] {
  const express = q35 || (machine.startsWith('virt') && architecture !== 's390x');
  if (!express) return [];
  return Array.from({ length: host.pciePorts ?? 0 }, () =>
    element('controller', { type: 'pci', model: 'pcie-root-port' }),
  );
}

/** libvirt would add a USB controller to every guest; QEMU starts faster without it. */
export function usbControllerElement(platform: Platform, needed: boolean): XmlElement | undefined {
  if (platform.architecture === 's390x') return undefined;
  return needed ? undefined : element('controller', { type: 'usb', index: 0, model: 'none' });
}
