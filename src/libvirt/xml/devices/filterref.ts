// libvirt's network filter of an interface: what its guest may send.
import { isIPv6 } from 'node:net';
import type { Vif } from '../../../driver/model.js';
import { element, type XmlElement } from '../element.js';

/** With the addresses of the port; without any, libvirt learns the first one that the guest uses and keeps it to that. */
export function filterrefElement(
  { addresses = [] }: Vif,
  filter: string | undefined,
): XmlElement | undefined {
  if (filter === undefined) return undefined;
  const parameters = addresses.map(({ address }) =>
    element('parameter', { name: isIPv6(address) ? 'IPV6' : 'IP', value: address }),
  );
  return element('filterref', { filter }, parameters);
}
