// virsh, one process a call, as scripts use it; see ../README.md.
import { execFile } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { runClient } from '../lib/client.mjs';

const options = JSON.parse(process.argv[2]);
const execute = promisify(execFile);
const virsh = (...words) => execute('virsh', ['--quiet', '--connect', options.uri, ...words]);

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
  },
  options,
);
