// The graphics adapter.
import { element, type XmlElement } from '../element.js';
import type { HostFacts } from '../host.js';
import { isX86 } from '../host.js';
import type { Platform } from '../platform.js';
import type { Guest } from '../vocabulary/guest.js';
import type { VideoModel } from '../vocabulary/image-words.js';

/**
 * Undefined where there is no VNC and the image names no model. The default on x86 is VGA: every guest knows it from its
 * first line on, and QEMU loads no module for it.
 */
export function videoElement(guest: Guest, platform: Platform, host: HostFacts): XmlElement | undefined {
  const model = guest.videoModel ?? (host.vncListen === undefined ? undefined : defaultModel(platform));
  if (model === undefined) return undefined;
  if (model === 'none') return element('video', {}, [element('model', { type: 'none' })]);
  // virtio has no memory of its own.
  const vram = guest.videoRamMb === undefined || model === 'virtio' ? undefined : guest.videoRamMb * 1024;
  return element('video', {}, [element('model', { type: model, vram, heads: 1, primary: 'yes' })]);
}

function defaultModel({ architecture }: Platform): VideoModel {
  return isX86(architecture) || architecture.startsWith('ppc64') ? 'vga' : 'virtio';
}
