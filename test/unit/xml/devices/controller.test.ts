// SCSI and USB controllers.
import { expect, it } from 'vitest';
import {
  pciePortElements,
  scsiControllerElement,
  usbControllerElement,
} from '../../../../src/libvirt/xml/devices/controller.js';
import { diskLayout } from '../../../../src/libvirt/xml/devices/disk-layout.js';
import { expectRefusal, guestOf, hostOf, lines, platformOf, type Words } from '../support.js';

function scsi(properties: Words): string[] {
  const guest = guestOf({}, properties);
  const platform = platformOf(guest);
  return lines(scsiControllerElement(guest, platform, diskLayout(guest, platform, hostOf())));
}

it('adds SCSI only where a disk or the image wants it', () => {
  expect(scsi({})).toEqual([]);
  expect(scsi({ hw_disk_bus: 'scsi' })).toEqual(["<controller type='scsi' index='0' model='virtio-scsi'/>"]);
  expect(scsi({ hw_scsi_model: 'lsiLogic' })).toEqual([
    "<controller type='scsi' index='0' model='lsilogic'/>",
  ]);
});

it.each([
  ['lsiLogicsas', 'lsisas1068'],
  ['paraVirtual', 'vmpvscsi'],
])('knows the old spelling %s', (word, model) => {
  expect(scsi({ vmware_adaptertype: word })).toEqual([
    `<controller type='scsi' index='0' model='${model}'/>`,
  ]);
});

it('refuses models that QEMU lacks', () => {
  expectRefusal(() => scsi({ hw_scsi_model: 'buslogic' }), 'UNSUPPORTED', 'hw_scsi_model');
  expectRefusal(() => scsi({ hw_scsi_model: 'ibmvscsi' }), 'UNSUPPORTED', 'hw_scsi_model');
  expectRefusal(() => scsi({ hw_scsi_model: 'fast' }), 'INVALID_ARGUMENT', 'hw_scsi_model', 'virtio-scsi');
});

it('has as many PCI Express ports as asked for, where the machine has PCI Express', () => {
  const ports = (machine: string) =>
    pciePortElements(platformOf(guestOf(), { machine }), hostOf({ pciePorts: 2 })).flatMap((port) =>
      lines(port),
    );
  expect(ports('q35')).toEqual([
    "<controller type='pci' model='pcie-root-port'/>",
    "<controller type='pci' model='pcie-root-port'/>",
  ]);
  expect(ports('pc')).toEqual([]);
  expect(pciePortElements(platformOf(guestOf(), { machine: 'q35' }), hostOf())).toEqual([]);
});

it('has no USB unless something needs it', () => {
  expect(lines(usbControllerElement(platformOf(), false))).toEqual([
    "<controller type='usb' index='0' model='none'/>",
  ]);
  expect(lines(usbControllerElement(platformOf(), true))).toEqual([]);
});
