// Bridges and taps: the right to make them, and what the kernel has.
import { existsSync, readFileSync } from 'node:fs';
import { type Finding, ok, problem, warning } from './check.js';

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
