// Device models and the like that an image can name, with the words Nova has for other hypervisors.
import { ARCHITECTURES, type Architecture } from '../host.js';
import { choice, type Rule } from './rule.js';

export type DiskBus = 'virtio' | 'scsi' | 'sata' | 'ide' | 'usb';
export type ScsiModel = 'virtio-scsi' | 'lsilogic' | 'lsisas1068' | 'lsisas1078' | 'vmpvscsi' | 'ibmvscsi';
export type VifModel =
  | 'virtio'
  | 'e1000'
  | 'e1000e'
  | 'igb'
  | 'rtl8139'
  | 'ne2k_pci'
  | 'pcnet'
  | 'vmxnet3'
  | 'lan9118'
  | 'spapr-vlan';
export type VideoModel = 'virtio' | 'vga' | 'cirrus' | 'qxl' | 'vmvga' | 'bochs' | 'none';
export type InputBus = 'usb' | 'virtio';
export type OsType = 'linux' | 'windows';

export const diskBus: Rule<DiskBus> = choice(['virtio', 'scsi', 'sata', 'ide', 'usb'], {
  elsewhere: ['fdc', 'xen', 'lxc', 'uml'],
});
export const architecture: Rule<Architecture> = choice(ARCHITECTURES, {
  lowerCase: true,
  aliases: { amd64: 'x86_64', i386: 'i686', i486: 'i686', i586: 'i686', x86_32: 'i686', x86_32p: 'i686' },
  elsewhere: [
    'alpha',
    'armv6',
    'armv7l',
    'armv7b',
    'cris',
    'ia64',
    'lm32',
    'm68k',
    'microblaze',
    'microblazeel',
  ]
    .concat([
      'mips',
      'mipsel',
      'mips64',
      'mips64el',
      'openrisc',
      'parisc',
      'parisc64',
      'ppc',
      'ppcle',
      'ppcemb',
    ])
    .concat(['s390', 'sh4', 'sh4eb', 'sparc', 'sparc64', 'unicore32', 'xtensa', 'xtensaeb']),
});
export const vifModel: Rule<VifModel> = choice(
  ['virtio', 'e1000', 'e1000e', 'igb', 'rtl8139', 'ne2k_pci', 'pcnet', 'vmxnet3', 'lan9118', 'spapr-vlan'],
  {
    lowerCase: true,
    aliases: {
      virtuale1000: 'e1000',
      virtuale1000e: 'e1000e',
      virtualpcnet32: 'pcnet',
      virtualvmxnet: 'vmxnet',
      virtualvmxnet3: 'vmxnet3',
      virtualsriovethernetcard: 'sriov',
    },
    elsewhere: ['vmxnet', 'netfront', 'sriov', 'netronome'],
  },
);
export const scsiModel: Rule<ScsiModel> = choice(
  ['virtio-scsi', 'lsilogic', 'lsisas1068', 'lsisas1078', 'vmpvscsi', 'ibmvscsi'],
  {
    lowerCase: true,
    aliases: { lsilogicsas: 'lsisas1068', paravirtual: 'vmpvscsi' },
    elsewhere: ['buslogic'],
  },
);
export const hypervisorType: Rule<'kvm' | 'qemu'> = choice(['kvm', 'qemu'], {
  lowerCase: true,
  aliases: { xapi: 'xen' },
  elsewhere: [
    'baremetal',
    'bhyve',
    'docker',
    'fake',
    'hyperv',
    'ironic',
    'kqemu',
    'lxc',
    'lxd',
    'openvz',
    'parallels',
  ].concat(['phyp', 'prsm', 'test', 'uml', 'vbox', 'virtuozzo', 'vmware', 'vz', 'xen', 'zvm']),
});
