// The os element: machine type, firmware, what is booted.
import { element, textElement, type XmlElement } from './element.js';
import type { DomainHost } from './host.js';
import type { Platform } from './platform.js';
import { hasSmbios } from './sysinfo.js';
import type { Guest } from './vocabulary/guest.js';

/** UEFI is left to libvirt's own choice among the host's firmware descriptors, which knows where each image lies. */
export function osElement(guest: Guest, platform: Platform, host: DomainHost): XmlElement {
  const uefi = platform.firmware === 'uefi';
  const bootMenu = guest.bootMenu ? element('bootmenu', { enable: 'yes' }) : undefined;
  const cdrom = host.rescuePath === undefined ? guest.rootIsCdrom : host.rescueDevice === 'cdrom';
  const last = host.rescuePath !== undefined && host.rescueOrder === 'last';
  return element('os', { firmware: uefi ? 'efi' : undefined }, [
    textElement('type', 'hvm', { arch: platform.architecture, machine: platform.machine }),
    ...(uefi ? firmware(guest, platform, host) : []),
    // The one that is last is named by its order, beside which libvirt takes no kind of device.
    last ? undefined : element('boot', { dev: cdrom ? 'cdrom' : 'hd' }),
    bootMenu,
    hasSmbios(platform.architecture) ? element('smbios', { mode: 'sysinfo' }) : undefined,
  ]);
}

function firmware(guest: Guest, platform: Platform, host: DomainHost): (XmlElement | undefined)[] {
  const wish = platform.secureBoot ? 'yes' : 'no';
  // Without a word on it libvirt may take firmware that needs SMM, or that refuses unsigned loaders.
  const chosen = platform.secureBoot || guest.secureBoot === 'disabled' || platform.q35;
  return [
    chosen
      ? element('firmware', {}, [
          element('feature', { enabled: wish, name: 'enrolled-keys' }),
          element('feature', { enabled: wish, name: 'secure-boot' }),
        ])
      : undefined,
    platform.secureBoot ? element('loader', { secure: 'yes' }) : undefined,
    host.nvramPath === undefined ? undefined : textElement('nvram', host.nvramPath),
  ];
}
