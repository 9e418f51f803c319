// The status of a domain that a libvirt, killed while it ended a copy, left in a form that it cannot go on with.
import { expect, it } from 'vitest';
import { mendCopies } from '../../../src/libvirt/embedded-root.js';

const job = (state: string): string => `  <blockjobs active='yes'>
    <blockjob name='copy-vda-libvirt-1-format' type='copy' ${state} jobflags='0xf'>
      <disk dst='vda' mirror='yes'/>
    </blockjob>
  </blockjobs>
`;

const status = (jobs: string, mirror: string): string => `<domstatus state='running'>
${jobs}  <domain type='qemu'>
    <devices>
      <disk type='file'>
        <source file='/i/disk'/>
${mirror}        <target dev='vda'/>
      </disk>
    </devices>
  </domain>
</domstatus>
`;

const mirror = (attributes: string): string => `        <mirror type='file'${attributes}>
          <source file='/i/snapshot/disk' index='5'/>
          <backingStore/>
        </mirror>
`;

const underWay = [
  status(job("state='ready' newstate='ready'"), mirror(" file='/x' format='qcow2' job='copy' ready='yes'")),
  status(job("state='aborting' newstate='concluded'"), mirror(" job='copy' ready='abort'")),
  status("  <blockjobs active='no'/>\n", ''),
];

it.each(underWay)('one with a copy under way, or none, is left as it is', (text) => {
  expect(mendCopies(text)).toBe(text);
});

it('a copy of no kind goes with its job: QEMU has it no more', () => {
  const text = status(job("state='aborting' newstate='cancelled'"), mirror(" job=''"));
  expect(mendCopies(text)).toBe(status("  <blockjobs active='yes'>\n  </blockjobs>\n", ''));
});

it('a copy without a job goes', () => {
  const none = "  <blockjobs active='yes'/>\n";
  expect(mendCopies(status(none, mirror(" job='copy' ready='abort'")))).toBe(status(none, ''));
});
