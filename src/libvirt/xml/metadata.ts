// What tools read of a domain: Nova's own element, and one that marks the domain as ours.
import type { Instance } from '../../driver/model.js';
import { element, textElement, type XmlElement } from './element.js';
import type { HostFacts } from './host.js';

/** Namespace of Nova's element; collectors of meters and the like look for it. */
export const NOVA_NAMESPACE = 'http://openstack.org/xmlns/libvirt/nova/1.1';

/** Namespace of our element: a domain that has it was made by this library. */
export const DOMAIN_NAMESPACE = 'https://node-compute.dev/xmlns/domain/1';

export function metadataElement(instance: Instance, host: HostFacts): XmlElement {
  return element('metadata', {}, [novaElement(instance, host), ownElement(instance, host)]);
}

function ownElement(instance: Instance, host: HostFacts): XmlElement {
  return element('node-compute:instance', {
    'xmlns:node-compute': DOMAIN_NAMESPACE,
    id: instance.id,
    version: host.packageVersion,
  });
}

function novaElement(instance: Instance, host: HostFacts): XmlElement {
  const { flavor } = instance;
  return element('nova:instance', { 'xmlns:nova': NOVA_NAMESPACE }, [
    element('nova:package', { version: host.packageVersion }),
    textElement('nova:name', instance.displayName),
    textElement('nova:creationTime', novaTime(instance.createdAt)),
    element('nova:flavor', { name: flavor.name }, [
      textElement('nova:memory', flavor.memoryMb),
      textElement('nova:disk', flavor.rootGb),
      textElement('nova:swap', flavor.swapMb),
      textElement('nova:ephemeral', flavor.ephemeralGb),
      textElement('nova:vcpus', flavor.vcpus),
    ]),
    owner(instance),
    element('nova:root', { type: 'image', uuid: instance.image.id }),
    element(
      'nova:ports',
      {},
      instance.vifs.map((vif) => element('nova:port', { uuid: vif.id })),
    ),
  ]);
}

// Only the ids are known here; Nova has names beside them.
function owner({ userId, projectId }: Instance): XmlElement | undefined {
  if (userId === undefined && projectId === undefined) return undefined;
  return element('nova:owner', {}, [
    userId === undefined ? undefined : textElement('nova:user', userId, { uuid: userId }),
    projectId === undefined ? undefined : textElement('nova:project', projectId, { uuid: projectId }),
  ]);
}

/** `2026-01-02T03:04:05.678Z` as `2026-01-02 03:04:05`. */
function novaTime(iso: string): string {
  return iso.replace('T', ' ').replace(/(\.\d+)?Z$/, '');
}
