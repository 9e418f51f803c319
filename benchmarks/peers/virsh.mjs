// virsh, one process a call, as scripts use it; see ../README.md.
import { execFile } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { runClient } from '../lib/client.mjs';

const options = JSON.parse(process.argv[2]);
const execute = promisify(execFile);
const virsh = (...words) =>
  execute('virsh', ['--quiet', '--connect', options.uri, ...words], { maxBuffer: 64 << 20 });
const domstats = async (...groups) =>
  (await virsh('domstats', ...groups)).stdout.split('Domain: ').length - 1;

await runClient(
  {
    async define(document, uuid) {
      const file = join(options.directory, `${uuid}.xml`);
      writeFileSync(file, document);
      try {
        await virsh('define', file);
      } finally {
        rmSync(file);
      }
      return uuid;
    },
    start: (uuid) => virsh('start', uuid),
    destroy: (uuid) => virsh('destroy', uuid),
    undefine: (uuid) => virsh('undefine', uuid),
    lookup: (name) => name,
    info: (uuid) => virsh('dominfo', uuid),
    usage: () => domstats('--state', '--cpu-total', '--balloon'),
    usageAll: () => domstats('--state', '--cpu-total', '--balloon', '--vcpu', '--interface', '--block'),
  },
  options,
);
