// The domain XML of an instance: a pure function of the instance and of what is known of its host.
import { ComputeError } from '../../driver/errors.js';
import type { Flavor, ImageMeta, Instance } from '../../driver/model.js';
import { clockElement } from './clock.js';
import { cpuElement, vcpuElement, vcpusElement } from './cpu.js';
import { cputuneElement } from './cputune.js';
import { devicesElement } from './devices/devices.js';
import { element, serialize, textElement } from './element.js';
import { featuresElement } from './features.js';
import type { DomainHost, HostFacts } from './host.js';
import { currentMemoryElement, memoryBackingElement, memoryElement, numatuneElement } from './memory.js';
import { metadataElement } from './metadata.js';
import { osElement } from './os.js';
import { resolvePlatform } from './platform.js';
import { hasSmbios, sysinfoElement } from './sysinfo.js';
import { resolveGuest } from './vocabulary/guest.js';

export type { CpuMode, CpuPinning, DiskCache, DomainHost, HostFacts } from './host.js';
export { DOMAIN_NAMESPACE, NOVA_NAMESPACE } from './metadata.js';

const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.@:+-]{0,254}$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/**
 * The document that libvirt is given. Equal arguments give equal bytes.
 * Throws `INVALID_ARGUMENT`, `UNSUPPORTED` or `FLAVOR_IMAGE_CONFLICT`, each naming the term or the field.
 */
export function domainXml(instance: Instance, host: DomainHost): string {
  checkIdentity(instance);
  const guest = resolveGuest(instance.flavor, instance.image);
  const platform = resolvePlatform(guest, host);
  const domain = element('domain', { type: platform.virtType }, [
    textElement('name', instance.name),
    textElement('uuid', instance.uuid),
    metadataElement(instance, host),
    memoryElement(guest),
    currentMemoryElement(guest),
    memoryBackingElement(guest, host.pinning),
    vcpuElement(guest),
    vcpusElement(guest),
    cputuneElement(guest, host),
    numatuneElement(guest, host),
    hasSmbios(platform.architecture) ? sysinfoElement(instance, host) : undefined,
    osElement(guest, platform, host),
    featuresElement(guest, platform),
    cpuElement(guest, platform, host),
    clockElement(guest, platform),
    textElement('on_poweroff', 'destroy'),
    textElement('on_reboot', 'restart'),
    textElement('on_crash', 'destroy'),
    devicesElement(instance, guest, platform, host),
  ]);
  return serialize(domain);
}

/**
 * Everything that can be refused of a flavor and an image before anything is claimed. With `host` also what that host
 * lacks; name in it the paths of a config drive, ephemeral and swap disk where the host makes them. Throws what
 * {@link domainXml} throws. Pure.
 */
export function validateFlavorAndImage(
  flavor: Flavor,
  image: ImageMeta,
  host?: HostFacts & Partial<DomainHost>,
): void {
  if (host === undefined) {
    resolveGuest(flavor, image);
    return;
  }
  const instance: Instance = {
    uuid: '00000000-0000-0000-0000-000000000000',
    id: 0,
    name: 'instance-00000000',
    displayName: '',
    flavor,
    image,
    vifs: [{ id: '', mac: 'fa:16:3e:00:00:00', bridge: 'br', tap: 'tap' }],
    createdAt: '1970-01-01T00:00:00Z',
  };
  domainXml(instance, { diskPath: '/disk', diskFormat: 'qcow2', consoleLogPath: '/console.log', ...host });
}

function checkIdentity(instance: Instance): void {
  if (!NAME.test(instance.name))
    throw badField('name', instance.name, 'letters, digits and _.@:+-, at most 255');
  if (!UUID.test(instance.uuid)) throw badField('uuid', instance.uuid, 'a UUID in lower case');
}

function badField(field: string, value: string, allowed: string): ComputeError {
  return new ComputeError(
    'INVALID_ARGUMENT',
    `the instance's ${field} ${JSON.stringify(value)} is not ${allowed}`,
    {
      operation: 'domainXml',
      details: { field, value, allowed },
    },
  );
}
