// The part of a config drive that speaks as EC2's metadata service does: ec2/<version>/.
import { isIPv4 } from 'node:net';
import type { DriveFacts } from './drive-facts.js';
import type { IsoFile } from './iso9660-tree.js';
import { json } from './json.js';

/** Nova skips the older ones by default (config_drive_skip_versions). */
const VERSIONS = ['2009-04-04', 'latest'];

/** Nova: InstanceMetadata.get_ec2_metadata, less the ids that only its database has (ami, reservation, device mapping). */
export function ec2Files({ instance, content, hostname }: DriveFacts): IsoFile[] {
  const { availabilityZone, keys = [], userData } = content;
  const addresses = instance.vifs.flatMap(({ addresses = [] }) => addresses.map(({ address }) => address));
  const document = json({
    'ami-launch-index': 0,
    hostname,
    'instance-action': 'none',
    'instance-id': `i-${instance.id.toString(16).padStart(8, '0')}`,
    'instance-type': instance.flavor.name,
    'local-hostname': hostname,
    'local-ipv4': addresses.find((address) => isIPv4(address)) ?? null,
    placement: { 'availability-zone': availabilityZone ?? null },
    'public-hostname': hostname,
    'public-ipv4': '',
    ...(keys.length > 0 && {
      'public-keys': Object.fromEntries(
        keys.map(({ publicKey }, index) => [index, { 'openssh-key': publicKey }]),
      ),
    }),
  });
  return VERSIONS.flatMap((version) => [
    { path: `ec2/${version}/meta-data.json`, data: document },
    ...(userData ? [{ path: `ec2/${version}/user-data`, data: userData }] : []),
  ]);
}
