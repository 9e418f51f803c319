// What tools read of a domain.
import { XMLParser } from 'fast-xml-parser';
import { expect, it } from 'vitest';
import { serialize } from '../../../src/libvirt/xml/element.js';
import { DOMAIN_NAMESPACE, metadataElement, NOVA_NAMESPACE } from '../../../src/libvirt/xml/metadata.js';
import { sysinfoElement } from '../../../src/libvirt/xml/sysinfo.js';
import { hostOf, instanceOf, lines } from './support.js';

it('is readable for tools that know Nova', () => {
  const instance = {
    ...instanceOf(),
    userId: 'user',
    projectId: 'project',
    vifs: [{ id: 'port', mac: 'fa:16:3e:00:00:01', bridge: 'br', tap: 'tap0' }],
  };
  const parser = new XMLParser({ ignoreAttributes: false, attributeNamePrefix: '@', removeNSPrefix: true });
  const parsed: unknown = parser.parse(serialize(metadataElement(instance, hostOf())));
  expect(parsed).toMatchObject({
    metadata: {
      instance: [
        {
          package: { '@version': '1.2.3' },
          name: 'web',
          creationTime: '2026-01-02 03:04:05',
          flavor: { '@name': 'm1.test', memory: 1024, disk: 1, swap: 0, ephemeral: 0, vcpus: 4 },
          owner: {
            user: { '@uuid': 'user', '#text': 'user' },
            project: { '@uuid': 'project', '#text': 'project' },
          },
          root: { '@type': 'image', '@uuid': 'image' },
          ports: { port: { '@uuid': 'port' } },
        },
        { '@id': '1', '@version': '1.2.3' },
      ],
    },
  });
});

it('marks the domain as ours and Nova-like, each in its own namespace', () => {
  const text = lines(metadataElement(instanceOf(), hostOf())).join('\n');
  expect(text).toContain(`xmlns:nova='${NOVA_NAMESPACE}'`);
  expect(text).toContain(`xmlns:node-compute='${DOMAIN_NAMESPACE}'`);
  expect(text).not.toContain('nova:owner');
});

it('tells the guest its name and uuid', () => {
  const text = lines(sysinfoElement(instanceOf(), hostOf({ smbios: { manufacturer: 'M', product: 'P' } })));
  expect(text).toContain("    <entry name='manufacturer'>M</entry>");
  expect(text).toContain("    <entry name='product'>P</entry>");
  expect(text).toContain("    <entry name='version'>1.2.3</entry>");
  expect(text).toContain("    <entry name='serial'>7d1f2c3b-4a5e-4f60-8a9b-0c1d2e3f4a5b</entry>");
  expect(text).toContain("    <entry name='family'>Virtual Machine</entry>");
  expect(text).toContain('    <entry>name=instance-00000001</entry>');
});
