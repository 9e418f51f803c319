// What a running domain has, from libvirt's own document of it: sources of every kind, names, copies under way.
import { expect, it } from 'vitest';
import { volumeKey } from '../../../src/driver/volume.js';
import { parseDevices } from '../../../src/libvirt/live-devices.js';

const XML = `<domain type='qemu' id='1'>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='/i/disk' index='2'/>
      <backingStore type='file' index='3'>
        <format type='raw'/>
        <source file='/base'/>
        <backingStore/>
      </backingStore>
      <target dev='vda' bus='virtio'/>
      <alias name='virtio-disk0'/>
    </disk>
    <disk type='file' device='disk'>
      <source file='/v/it&apos;s &lt;this&gt; &amp;lt;'/>
      <backingStore/>
      <mirror type='file' job='copy'>
        <source file='/v/copy'/>
      </mirror>
      <target dev='vdb' bus='virtio'/>
    </disk>
    <disk type='block' device='disk'>
      <source dev='/dev/sdq' index='1'/>
      <target dev='vdc' bus='virtio'/>
      <alias name='ua-mine'/>
    </disk>
    <disk type='network' device='disk'>
      <source protocol='nbd' name='x' index='4'>
        <host transport='unix' socket='/s'/>
      </source>
      <target dev='vdd' bus='virtio'/>
    </disk>
    <disk type='network' device='disk'>
      <source protocol='nbd'>
        <host name='::1' port='10809'/>
      </source>
      <target dev='vde' bus='virtio'/>
    </disk>
    <disk type='network' device='disk'>
      <source protocol='rbd' name='p/i'>
        <host name='mon' port='6789'/>
      </source>
      <target dev='vdf' bus='virtio'/>
    </disk>
    <disk type='file' device='cdrom'>
      <target dev='hda' bus='ide'/>
    </disk>
    <interface type='bridge'>
      <mac address='FA:16:3e:00:00:01'/>
      <target dev='tap1'/>
      <alias name='net0'/>
    </interface>
  </devices>
</domain>
`;

it('finds disks by target, alias and source, and interfaces by address', () => {
  const rbd = { pool: 'p', image: 'i', hosts: [{ name: 'mon' }] };
  expect(parseDevices(XML)).toEqual({
    disks: [
      { target: 'vda', alias: 'virtio-disk0', key: 'file:/i/disk', copied: false },
      { target: 'vdb', alias: undefined, key: "file:/v/it's <this> &lt;", copied: true },
      {
        target: 'vdc',
        alias: 'ua-mine',
        key: volumeKey({ driverVolumeType: 'block', data: { path: '/dev/sdq' } }),
        copied: false,
      },
      {
        target: 'vdd',
        alias: undefined,
        key: volumeKey({ driverVolumeType: 'nbd', data: { socket: '/s', export: 'x' } }),
        copied: false,
      },
      {
        target: 'vde',
        alias: undefined,
        key: volumeKey({ driverVolumeType: 'nbd', data: { host: '::1' } }),
        copied: false,
      },
      {
        target: 'vdf',
        alias: undefined,
        key: volumeKey({ driverVolumeType: 'rbd', data: rbd }),
        copied: false,
      },
      { target: 'hda', alias: undefined, key: undefined, copied: false },
    ],
    interfaces: [{ mac: 'fa:16:3e:00:00:01', alias: 'net0' }],
  });
});
