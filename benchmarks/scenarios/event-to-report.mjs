export const scenario = {
  name: 'event-to-report',
  question: 'How long from an event of the hypervisor until a report that tells of it is with its reader?',
  unit: 'ms',
  digits: 3,
  base: 'node-compute',
  quick: { rounds: 3, count: 30 },
  full: { rounds: 6, count: 100 },
  contenders: { 'node-compute': { peer: 'node-compute', options: { work: 'reports' } } },
  goals: [{ text: 'ms from event to report', of: { contender: 'node-compute' }, atMost: 2 }],
  notes: [
    'From the arrival of the event with a reader of the node to that of the report with a reader of its reporter.',
  ],
};
