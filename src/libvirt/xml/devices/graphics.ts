// VNC.
import { element, type XmlElement } from '../element.js';
import type { HostFacts } from '../host.js';

/** Undefined where the host has no VNC. The port is libvirt's choice, from 5900 on. */
export function graphicsElement(host: HostFacts): XmlElement | undefined {
  if (host.vncListen === undefined) return undefined;
  return element('graphics', { type: 'vnc', port: -1, autoport: 'yes', listen: host.vncListen }, [
    element('listen', { type: 'address', address: host.vncListen }),
  ]);
}
