// The graphics adapter.
import { expect, it } from 'vitest';
import { videoElement } from '../../../../src/libvirt/xml/devices/video.js';
import type { DomainHost } from '../../../../src/libvirt/xml/host.js';
import { expectRefusal, guestOf, hostOf, lines, platformOf, type Words } from '../support.js';

function model(extraSpecs: Words, properties: Words, facts: Partial<DomainHost> = {}): string | undefined {
  const guest = guestOf(extraSpecs, properties);
  return lines(videoElement(guest, platformOf(guest, facts), hostOf(facts)))[1]?.trim();
}

const vnc = { vncListen: '127.0.0.1' };

it('is there with VNC or by the image', () => {
  expect(model({}, {})).toBeUndefined();
  expect(model({}, {}, vnc)).toBe("<model type='vga' heads='1' primary='yes'/>");
  expect(model({}, {}, { ...vnc, architecture: 'aarch64' })).toBe(
    "<model type='virtio' heads='1' primary='yes'/>",
  );
  expect(model({}, { hw_video_model: 'cirrus' })).toBe("<model type='cirrus' heads='1' primary='yes'/>");
  expect(model({}, { hw_video_model: 'none' }, vnc)).toBe("<model type='none'/>");
});

it('has no more memory than the flavor allows', () => {
  const limit = { 'hw_video:ram_max_mb': '64' };
  expect(model(limit, { hw_video_model: 'qxl', hw_video_ram: '32' })).toContain("vram='32768'");
  expect(model(limit, { hw_video_model: 'qxl' })).not.toContain('vram');
  expectRefusal(
    () => model(limit, { hw_video_ram: '65' }),
    'FLAVOR_IMAGE_CONFLICT',
    'hw_video_ram',
    '65',
    '64',
  );
  expectRefusal(() => model({}, { hw_video_ram: '1' }), 'FLAVOR_IMAGE_CONFLICT', 'hw_video_ram');
});

it('refuses models that QEMU lacks', () => {
  for (const word of ['xen', 'gop'])
    expectRefusal(() => model({}, { hw_video_model: word }), 'UNSUPPORTED', 'hw_video_model');
  expectRefusal(() => model({}, { hw_video_model: 'voodoo' }), 'INVALID_ARGUMENT', 'voodoo', 'cirrus');
});
