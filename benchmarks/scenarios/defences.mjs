const launch = (security) => ({ peer: 'node-compute', options: { work: 'launch', nic: true, security } });

export const scenario = {
  name: 'defences',
  question: 'What does each defence around QEMU cost a launch with an interface on a bridge?',
  unit: 'ms',
  base: 'secure defaults',
  quick: { rounds: 3, count: 5 },
  full: { rounds: 8, count: 12 },
  slow: true,
  contenders: {
    'secure defaults': launch({}),
    'no seccomp': launch({ seccomp: false }),
    'no mount namespace': launch({ mountNamespace: false }),
    'all off, QEMU as root': launch({ user: 'root', mountNamespace: false, seccomp: false }),
  },
};
