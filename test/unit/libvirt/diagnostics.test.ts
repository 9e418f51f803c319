import { expect, it } from 'vitest';
import { diagnosticsOf } from '../../../src/libvirt/diagnostics.js';

const XML = `<domain><metadata><nova:instance><nova:name>&lt;devices&gt;</nova:name>
<nova:creationTime>1970-01-01 00:00:10</nova:creationTime></nova:instance></metadata><devices>
<disk type='file' device='cdrom'><source file='/i/disk.config'/><target dev='hda'/></disk>
<interface type='bridge'><mac address='fa:16:3e:00:00:01'/><target dev='tap1'/></interface>
</devices></domain>`;

it('takes figures by libvirt names, the MAC by the tap, and leaves out what libvirt does not tell', () => {
  const told = diagnosticsOf(
    {
      'balloon.maximum': 2048n,
      'balloon.current': 1024n,
      'vcpu.current': 2n,
      'vcpu.0.time': 7n,
      'net.count': 2n,
      'net.0.name': 'tap1',
      'net.0.rx.bytes': 1n,
      'net.1.name': 'gone',
      'block.count': 1n,
      'block.0.name': 'vda',
      'block.0.wr.reqs': 5n,
    },
    XML,
  );
  expect(told).toMatchObject({
    configDrive: true,
    numCpus: 2,
    numNics: 2,
    numDisks: 1,
    memoryDetails: { maximumMib: 2, usedMib: 1 },
  });
  expect(told.cpuDetails).toEqual([
    { id: 0, timeNs: 7n },
    { id: 1, timeNs: undefined },
  ]);
  expect(told.nicDetails.map(({ macAddress, rxOctets }) => [macAddress, rxOctets])).toEqual([
    ['fa:16:3e:00:00:01', 1n],
    [undefined, undefined],
  ]);
  expect(told.diskDetails[0]).toMatchObject({ name: 'vda', writeRequests: 5n, readBytes: undefined });
  expect(told.uptimeSeconds).toBeGreaterThan(1_000_000_000);
  expect(diagnosticsOf({}, '')).toMatchObject({ numCpus: 0, uptimeSeconds: undefined, configDrive: false });
});
