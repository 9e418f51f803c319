// The report as text, and the screen that shows it: drawn over what stands there, within the terminal, left as it was.
import { EventEmitter } from 'node:events';
import { expect, it } from 'vitest';
import { LiveScreen } from '../../../src/cli/live-screen.js';
import { reportLine, reportLines } from '../../../src/cli/report-lines.js';
import type { FullReport, InstanceReport } from '../../../src/index.js';

const instance: InstanceReport = {
  uuid: 'i',
  name: 'instance-00000001',
  displayName: 'web',
  projectId: undefined,
  userId: undefined,
  powerState: 'running',
  task: undefined,
  vcpus: 2,
  pcpus: 0,
  memoryMb: 2048,
  diskGb: 10,
  usage: undefined,
  rates: {
    overMs: 1000,
    cpuPercent: 150.44,
    diskReadBytes: 4096,
    diskWriteBytes: 0,
    diskReadRequests: 1,
    diskWriteRequests: 0,
    networkRxBytes: undefined,
    networkTxBytes: undefined,
  },
};

const report: FullReport = {
  type: 'full',
  sequence: 7,
  timestampMs: 0,
  nodeUuid: 'node',
  service: {
    state: 'up',
    enabled: false,
    disabledBy: 'operator',
    disabledReason: 'maintenance',
    lastSeenMs: 0,
    startedMs: 0,
    version: '0',
    consecutiveBuildFailures: 0,
  },
  node: {
    hypervisorType: 'QEMU',
    hypervisorVersion: 7_002_022,
    hypervisorHostname: 'host-1',
    architecture: 'x86_64',
    cpuModel: 'fake',
    vcpus: { total: 8, reserved: 0, allocationRatio: 4, limit: 32, used: 16 },
    memoryMb: { total: 8192, reserved: 512, allocationRatio: 1, limit: 7680, used: 2048 },
    diskGb: { total: 0, reserved: 0, allocationRatio: 1, limit: 0, used: 0 },
    memoryMbUsedByHost: 3072,
    diskGbUsedByHost: 0,
    diskAvailableLeastGb: 0,
    instances: 2,
    runningInstances: 1,
  },
  inventory: undefined,
  instances: [
    {
      ...instance,
      uuid: 'j',
      name: 'instance-00000002',
      displayName: 'db',
      powerState: 'shutdown',
      task: 'start',
      rates: undefined,
    },
    instance,
  ],
};

it('shows bars, figures with their units, and instances in the order of their domains', () => {
  const lines = reportLines(report);
  expect(lines[0]).toContain('host-1  QEMU 7.2.22, x86_64  service up, disabled (maintenance)');
  expect(lines[1]).toBe('vCPUs    [############            ] 16 of 32 (8 x 4)');
  expect(lines[2]).toBe(
    'memory   [######                  ] 2.0 GiB of 7.5 GiB (8.0 GiB x 1, 512.0 MiB reserved)',
  );
  expect(lines[3]).toContain(`[${' '.repeat(24)}] 0 B of 0 B`);
  const [web = '', db = ''] = lines.slice(-2);
  expect(web).toMatch(/^web +instance-00000001 +running +2 +150\.4 +2\.0 GiB +- +4\.0 KiB +0 B +- +-$/);
  expect(db).toMatch(/^db +instance-00000002 +shutdown \(start\) +2 +- +/);
});

it('is one line for a log', () => {
  expect(reportLine(report)).toBe(
    '1970-01-01T00:00:00.000Z #7 host-1 up, disabled: maintenance; vCPUs 16/32, memory 2048/7680 MiB, disk 0/0 GiB, 1/2 instances run',
  );
});

class Terminal extends EventEmitter {
  columns = 20;
  rows = 4;
  readonly writes: string[] = [];
  write(text: string): boolean {
    this.writes.push(text);
    return true;
  }
}

it('a frame is one write that begins at the top and clears only what it does not cover', () => {
  const terminal = new Terminal();
  const screen = new LiveScreen(terminal as unknown as NodeJS.WriteStream);
  screen.show(['a name with \x1b[2J in it', 'b', 'c', 'd', 'e']);
  expect(terminal.writes).toHaveLength(2);
  expect(terminal.writes[1]).toBe(
    '\x1b[Ha name with ?[2J in \x1b[K\nb\x1b[K\nc\x1b[K\n... 2 more\x1b[K\x1b[J',
  );
  terminal.rows = 5;
  terminal.emit('resize');
  expect(terminal.writes[2]).toContain('\ne\x1b[K\x1b[J');
  screen[Symbol.dispose]();
  expect(terminal.writes.at(-1)).toBe('\x1b[?25h\x1b[?1049l');
  terminal.emit('resize');
  expect(terminal.writes).toHaveLength(4);
});
