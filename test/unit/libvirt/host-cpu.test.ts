import { expect, it } from 'vitest';
import { hostCpu } from '../../../src/libvirt/available-resource.js';

const guest = '<guest><arch name="i686"><model>guest</model></arch></guest>';
const cells = '<topology><cells><cell><cpus><cpu id="0"/></cpus></cell></cells></topology>';

it("reads the host's CPU from libvirt's capabilities, and nothing of a guest's", () => {
  const cpu = '<cpu>\n <arch>x86_64</arch>\n <model>EPYC-Rome</model>\n <vendor>AMD</vendor>\n</cpu>';
  const xml = `<capabilities>\n<host><uuid>u</uuid>${cpu}${cells}</host>${guest}</capabilities>`;
  expect(hostCpu(xml)).toEqual({ arch: 'x86_64', model: 'EPYC-Rome' });
});

it('knows no model where libvirt knows none', () => {
  const xml = `<capabilities><host><cpu><arch>aarch64</arch></cpu>${cells}</host>${guest}</capabilities>`;
  expect(hostCpu(xml)).toEqual({ arch: 'aarch64' });
  expect(hostCpu('<capabilities/>')).toEqual({});
});
