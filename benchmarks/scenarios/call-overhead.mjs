const call = { work: 'call', warmup: 200 };

export const scenario = {
  name: 'call-overhead',
  question: 'What does a call to libvirt cost beyond the same call in C?',
  slow: true,
  unit: 'µs',
  base: 'C, in process',
  quick: { rounds: 3, count: 2000 },
  full: { rounds: 6, count: 10_000 },
  contenders: {
    'C, in process': { peer: 'libvirt-c', options: call },
    'node-compute, in process': { peer: 'addon', options: call },
    '@unraid/libvirt, in process': { peer: 'unraid', options: call },
    'Python, in process': { peer: 'libvirt-python', options: call },
    'C, libvirtd': { peer: 'libvirt-c', libvirtd: 'stock', options: call },
    'node-compute, libvirtd': { peer: 'addon', libvirtd: 'stock', options: call },
    '@unraid/libvirt, libvirtd': { peer: 'unraid', libvirtd: 'stock', options: call },
    'Python, libvirtd': { peer: 'libvirt-python', libvirtd: 'stock', options: call },
  },
  goals: [
    {
      text: 'µs that a call takes beyond C, in process',
      of: { contender: 'node-compute, in process', measure: 'call' },
      minus: { contender: 'C, in process', measure: 'call' },
      atMost: 10,
    },
    {
      text: 'µs a domain beyond C, a thousand in one call, in process',
      of: { contender: 'node-compute, in process', measure: 'bulk' },
      minus: { contender: 'C, in process', measure: 'bulk' },
      atMost: 1,
    },
  ],
  notes: [
    "virDomainGetInfo on libvirt's test driver, which does nothing: what is left is the way there and back.",
    'call: one after the other. together: a share of twenty asked for at once; C and Python block, and ask one by one.',
    'bulk: the states of a thousand domains, a share of one; node-compute also looks which of them are its own.',
  ],
};
