// SMBIOS tables: how the guest learns who it is.
import type { Instance } from '../../driver/model.js';
import { element, textElement, type XmlElement } from './element.js';
import type { Architecture, HostFacts } from './host.js';
import { isX86 } from './host.js';

export function hasSmbios(architecture: Architecture): boolean {
  return isX86(architecture) || architecture === 'aarch64';
}

/** Serial number and uuid are the instance's; the OEM string `name=` holds the name of the domain. */
export function sysinfoElement(instance: Instance, host: HostFacts): XmlElement {
  return element('sysinfo', { type: 'smbios' }, [
    element('system', {}, [
      textElement('entry', host.smbios?.manufacturer ?? 'node-compute', { name: 'manufacturer' }),
      textElement('entry', host.smbios?.product ?? 'node-compute', { name: 'product' }),
      textElement('entry', host.packageVersion, { name: 'version' }),
      textElement('entry', instance.uuid, { name: 'serial' }),
      textElement('entry', instance.uuid, { name: 'uuid' }),
      textElement('entry', 'Virtual Machine', { name: 'family' }),
    ]),
    element('oemStrings', {}, [textElement('entry', `name=${instance.name}`)]),
  ]);
}
