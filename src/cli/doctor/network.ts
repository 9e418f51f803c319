// Bridges, taps, VLANs and filters: the right to make them, and what kernel and host have.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { searchPath } from '../../image/fenced-process.js';
import { type NetworkFeatures, networkFeatures } from '../../network/features.js';
import { type DoctorSubject, type Finding, install, ok, problem, warning } from './check.js';

/** Bit of CAP_NET_ADMIN in the effective set. */
const NET_ADMIN = 12n;

export function checkNetwork(status: string = readFileSync('/proc/self/status', 'utf8')): Finding[] {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  const admin = ((effective >> NET_ADMIN) & 1n) === 1n;
  return [
    admin
      ? ok('network', 'bridges and taps may be made')
      : warning('network', 'no CAP_NET_ADMIN: instances can have no network interface', 'run it as root'),
    existsSync('/dev/net/tun')
      ? ok('tun', '/dev/net/tun')
      : problem('tun', '/dev/net/tun is missing: no taps', 'modprobe tun'),
    existsSync('/dev/vhost-net')
      ? ok('vhost-net', '/dev/vhost-net')
      : warning(
          'vhost-net',
          '/dev/vhost-net is missing: packets go through QEMU, which is slower',
          'modprobe vhost_net',
        ),
  ];
}

/** Tried in a network namespace of its own, which ends with it. */
export async function checkKernelNetwork(): Promise<Finding[]> {
  return kernelFindings(await networkFeatures());
}

/** @param features undefined where it could not be tried. */
export function kernelFindings(features: NetworkFeatures | undefined): Finding[] {
  if (!features) {
    return [
      warning(
        'kernel network',
        'bridges and VLANs were not tried: a network namespace needs root',
        'run doctor as root',
      ),
    ];
  }
  const { bridge, vlan, bridgeVlanFiltering } = features;
  const kernel = (option: string): string => `a kernel with ${option}`;
  return [
    bridge
      ? ok('bridge', 'the kernel has bridges')
      : problem(
          'bridge',
          'the kernel has no bridges: no instance with a network interface',
          `modprobe bridge, or ${kernel('CONFIG_BRIDGE')}`,
        ),
    vlan
      ? ok('802.1Q', 'the kernel has VLAN interfaces')
      : warning(
          '802.1Q',
          'the kernel has no VLAN interfaces: no networks with a vlan',
          `modprobe 8021q, or ${kernel('CONFIG_VLAN_8021Q')}`,
        ),
    bridgeVlanFiltering
      ? ok('bridge VLANs', 'bridges can filter VLANs')
      : warning(
          'bridge VLANs',
          'bridges cannot filter VLANs: a guest that sends tagged frames is not stopped by its bridge',
          kernel('CONFIG_BRIDGE_VLAN_FILTERING'),
        ),
  ];
}

/** What libvirtd makes network filters with; QEMU embedded in a process has none. */
export function checkFilterPrograms(
  { embedded }: Pick<DoctorSubject, 'embedded'>,
  path: string = searchPath(),
): Finding[] {
  if (embedded) return [];
  const directories = path.split(':');
  return ['ebtables', 'iptables'].map((program) => {
    const found = directories.find((directory) => existsSync(join(directory, program)));
    return found === undefined
      ? warning(
          program,
          `${program} is not installed: no network filters against spoofing`,
          install(program, 'iptables-nft'),
        )
      : ok(program, join(found, program));
  });
}
