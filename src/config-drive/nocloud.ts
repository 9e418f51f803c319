// cloud-init's own layout of a config drive (NoCloud): meta-data, user-data, network-config.
import { isIPv4, isIPv6 } from 'node:net';
import type { Vif } from '../driver/model.js';
import type { DriveFacts } from './drive-facts.js';
import type { IsoFile } from './iso9660-tree.js';
import { json, text } from './json.js';

/** JSON throughout, which is YAML too. Without user-data, even if empty, cloud-init takes the drive for another's. */
export function nocloudFiles({ instance, content, hostname, randomSeed }: DriveFacts): IsoFile[] {
  const { availabilityZone, metadata, keys = [], userData = text('') } = content;
  const metaData = {
    'instance-id': instance.uuid,
    'local-hostname': hostname,
    ...(availabilityZone !== undefined && { 'availability-zone': availabilityZone }),
    ...(keys.length > 0 && { 'public-keys': keys.map(({ publicKey }) => publicKey) }),
    ...(metadata && { meta: metadata }),
    random_seed: Buffer.from(randomSeed).toString('base64'),
  };
  return [
    { path: 'meta-data', data: json(metaData) },
    { path: 'user-data', data: userData },
    ...(instance.vifs.length > 0
      ? [{ path: 'network-config', data: json(networkConfig(instance.vifs)) }]
      : []),
  ];
}

/** Version 2 of cloud-init's network configuration, which is netplan's. */
function networkConfig(vifs: readonly Vif[]): unknown {
  return {
    version: 2,
    ethernets: Object.fromEntries(vifs.map((vif, index) => [`interface${index}`, ethernet(vif)])),
  };
}

function ethernet({ mac, mtu, addresses = [], dnsServers = [] }: Vif): unknown {
  // Not as routes: of `::/0` cloud-init 22.4 makes ::/64, and `default` it does not know.
  const gateways = addresses.flatMap(({ gateway }) => gateway ?? []);
  const gateway4 = gateways.find((gateway) => isIPv4(gateway));
  const gateway6 = gateways.find((gateway) => isIPv6(gateway));
  return {
    match: { macaddress: mac },
    ...(mtu !== undefined && { mtu }),
    ...(addresses.length === 0
      ? { dhcp4: true }
      : { addresses: addresses.map(({ address, prefixLength }) => `${address}/${prefixLength}`) }),
    ...(gateway4 !== undefined && { gateway4 }),
    ...(gateway6 !== undefined && { gateway6 }),
    ...(dnsServers.length > 0 && { nameservers: { addresses: dnsServers } }),
  };
}
