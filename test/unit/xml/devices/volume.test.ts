// Volumes as disks: every way to reach one, every setting, and values that would break out of an attribute.
import { expect, it } from 'vitest';
import type { VolumeConnection } from '../../../../src/driver/volume.js';
import { volumeElement } from '../../../../src/libvirt/xml/devices/volume.js';
import { serialize } from '../../../../src/libvirt/xml/element.js';
import { guestOf, hostOf } from '../support.js';

const write = (connection: VolumeConnection, device = 'vdb'): string =>
  serialize(volumeElement({ connection, device }, guestOf(), hostOf()));

it('a file has its own format, no chain, and every setting that is given', () => {
  const text = write({
    driverVolumeType: 'file',
    data: { path: "/v/it's <this>", format: 'qcow2' },
    serial: 'serial-1',
    cacheMode: 'writethrough',
    discard: true,
    readOnly: true,
    limits: { readBytes: 1000, totalIops: 50 },
  });
  expect(text).toBe(`<disk type='file' device='disk'>
  <driver name='qemu' type='qcow2' cache='writethrough' discard='unmap'/>
  <source file='/v/it&apos;s &lt;this&gt;'/>
  <backingStore/>
  <target dev='vdb' bus='virtio'/>
  <iotune>
    <read_bytes_sec>1000</read_bytes_sec>
    <total_iops_sec>50</total_iops_sec>
  </iotune>
  <readonly/>
  <serial>serial-1</serial>
</disk>
`);
});

it('a block device, NBD and RBD are raw', () => {
  expect(
    write({ driverVolumeType: 'block', data: { path: '/dev/sdq' }, multiattach: true }, 'sdb'),
  ).toBe(`<disk type='block' device='disk'>
  <driver name='qemu' type='raw' cache='none'/>
  <source dev='/dev/sdq'/>
  <backingStore/>
  <target dev='sdb' bus='scsi'/>
  <shareable/>
</disk>
`);
  const nbd = write({ driverVolumeType: 'nbd', data: { host: '::1', export: 'x' } });
  expect(nbd).toContain(`<source protocol='nbd' name='x'>\n    <host name='::1' port='10809'/>`);
  const socket = write({ driverVolumeType: 'nbd', data: { socket: '/s' } });
  expect(socket).toContain(`<source protocol='nbd'>\n    <host transport='unix' socket='/s'/>`);
  const rbd = write({
    driverVolumeType: 'rbd',
    data: {
      pool: 'volumes',
      image: 'volume-1',
      hosts: [{ name: 'mon1', port: 6789 }, { name: 'mon2' }],
      auth: { username: 'cinder', secretUuid: '457eb676-33da-42ec-9a8c-9293d545c337' },
    },
  });
  expect(rbd).toContain(`<source protocol='rbd' name='volumes/volume-1'>
    <host name='mon1' port='6789'/>
    <host name='mon2'/>
    <auth username='cinder'>
      <secret type='ceph' uuid='457eb676-33da-42ec-9a8c-9293d545c337'/>
    </auth>
  </source>`);
});
