// OpenStack's layout of a config drive: openstack/<version>/ and openstack/content/, each version with what it had.
import type { DriveFacts } from './drive-facts.js';
import { ec2Files } from './ec2.js';
import type { IsoFile } from './iso9660-tree.js';
import { json, text } from './json.js';
import { networkData } from './network-data.js';

/** Nova's names for them; all that cloud-init and cloudbase-init know are among them. */
const VERSIONS = {
  folsom: '2012-08-10',
  grizzly: '2013-04-04',
  havana: '2013-10-17',
  liberty: '2015-10-15',
  newtonOne: '2016-06-30',
  newtonTwo: '2016-10-06',
  ocata: '2017-02-22',
  rocky: '2018-08-27',
  victoria: '2020-10-14',
  latest: 'latest',
} as const;

type Version = (typeof VERSIONS)[keyof typeof VERSIONS];

/** Dates sort as text, and `latest` behind them. */
const since = (version: Version, first: Version): boolean => version >= first;

/** Nova: InstanceMetadata.metadata_for_config_drive. */
export function openstackFiles(facts: DriveFacts): IsoFile[] {
  const { instance, content } = facts;
  const { userData, files = [] } = content;
  // One array each, so that the image holds it once however many versions have it.
  const vendorData = text('{}');
  const vendorData2 = text('{"static": {}}');
  const network = json(networkData(instance.vifs));
  return [
    ...ec2Files(facts),
    ...Object.values(VERSIONS).flatMap((version) => {
      const file = (name: string, data: Uint8Array): IsoFile => ({
        path: `openstack/${version}/${name}`,
        data,
      });
      return [
        file('meta_data.json', json(metaData(facts, version))),
        ...(userData ? [file('user_data', userData)] : []),
        ...(since(version, VERSIONS.havana) ? [file('vendor_data.json', vendorData)] : []),
        ...(since(version, VERSIONS.liberty) ? [file('network_data.json', network)] : []),
        ...(since(version, VERSIONS.newtonTwo) ? [file('vendor_data2.json', vendorData2)] : []),
      ];
    }),
    ...files.map(({ contents }, index) => ({ path: `openstack${contentPath(index)}`, data: contents })),
  ];
}

function contentPath(index: number): string {
  return `/content/${String(index).padStart(4, '0')}`;
}

/** Nova: InstanceMetadata._metadata_as_json. */
function metaData({ instance, content, hostname, randomSeed }: DriveFacts, version: Version): unknown {
  const { metadata, files = [], keys = [], adminPassword, availabilityZone } = content;
  return {
    uuid: instance.uuid,
    ...(metadata && { meta: metadata }),
    ...(files.length > 0 && {
      files: files.map(({ path }, index) => ({ content_path: contentPath(index), path })),
    }),
    ...(adminPassword !== undefined && { admin_pass: adminPassword }),
    ...(keys.length > 0 && {
      public_keys: Object.fromEntries(keys.map(({ name, publicKey }) => [name, publicKey])),
      keys: keys.map(({ name, publicKey }) => ({ name, type: 'ssh', data: publicKey })),
    }),
    hostname,
    name: instance.displayName,
    launch_index: 0,
    availability_zone: availabilityZone ?? null,
    ...(since(version, VERSIONS.grizzly) && { random_seed: Buffer.from(randomSeed).toString('base64') }),
    ...(since(version, VERSIONS.liberty) && { project_id: instance.projectId ?? null }),
    ...(since(version, VERSIONS.newtonOne) && { devices: devices(instance.vifs) }),
  };
}

/** Nova writes `none` where it does not know the address yet, as here, before there is a domain. */
function devices(vifs: DriveFacts['instance']['vifs']): unknown[] {
  return vifs.map(({ mac }) => ({ type: 'nic', bus: 'none', address: 'none', mac, tags: [] }));
}
