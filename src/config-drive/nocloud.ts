// cloud-init's own layout of a config drive (NoCloud): meta-data, user-data, network-config.
import { isIPv4 } from 'node:net';
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
  const routes = addresses.flatMap(({ address, gateway }) =>
    gateway === undefined ? [] : [{ to: isIPv4(address) ? '0.0.0.0/0' : '::/0', via: gateway }],
  );
  return {
    match: { macaddress: mac },
    ...(mtu !== undefined && { mtu }),
    ...(addresses.length === 0
      ? { dhcp4: true }
      : { addresses: addresses.map(({ address, prefixLength }) => `${address}/${prefixLength}`) }),
    ...(routes.length > 0 && { routes }),
    ...(dnsServers.length > 0 && { nameservers: { addresses: dnsServers } }),
  };
}
