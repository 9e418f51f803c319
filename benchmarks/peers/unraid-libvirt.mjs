// @unraid/libvirt, the other binding of Node.js that builds today; see ../README.md.
import { Hypervisor } from '@unraid/libvirt';
import { runClient } from '../lib/client.mjs';

const options = JSON.parse(process.argv[2]);
const hypervisor = new Hypervisor({ uri: options.uri });
await hypervisor.connectOpen();
await runClient(
  {
    define: (document) => hypervisor.domainDefineXML(document),
    lookup: (name) => hypervisor.domainLookupByName(name),
    start: (domain) => hypervisor.domainCreate(domain),
    destroy: (domain) => hypervisor.domainDestroy(domain),
    undefine: (domain) => hypervisor.domainUndefine(domain),
    info: (domain) => hypervisor.domainGetInfo(domain),
    // It has no call for the state alone.
    async states() {
      const domains = await hypervisor.connectListAllDomains();
      return await Promise.all(domains.map((domain) => hypervisor.domainGetInfo(domain)));
    },
    async usage() {
      const domains = await hypervisor.connectListAllDomains();
      return (await Promise.all(domains.map((domain) => hypervisor.domainGetInfo(domain)))).length;
    },
    close: () => hypervisor.connectClose(),
  },
  options,
);
