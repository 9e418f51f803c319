// Writes the table of methods in docs/drivers.md from the code: `node scripts/driver-table.mjs` after `npm run build:ts`.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const BEGIN = '<!-- methods: begin -->';
const END = '<!-- methods: end -->';

export function withTable(page, facts) {
  const [before, rest] = page.split(BEGIN);
  const after = rest?.split(END)[1];
  if (before === undefined || after === undefined) throw new Error(`no ${BEGIN} and ${END} in the page`);
  return `${before}${BEGIN}\n\n${table(facts)}\n\n${END}${after}`;
}

function table({ methods, flags, drivers }) {
  const head = ['Method', "Nova's driver", 'Capability', ...drivers.map(({ name }) => `\`${name}\``)];
  const rows = Object.entries(methods).map(([method, nova]) => {
    const flag = flags[method];
    return [
      `\`${method}\``,
      nova.length > 0 ? nova.map((name) => `\`${name}\``).join(', ') : 'none',
      flag ? `\`${flag}\`` : 'every driver',
      ...drivers.map(({ capabilities }) => (!flag || capabilities[flag] ? 'yes' : 'no')),
    ];
  });
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { FakeDriver, METHOD_CAPABILITY, NOVA_METHODS } = await import('../dist/index.js');
  const { LibvirtDriver } = await import('../dist/libvirt/libvirt-driver.js');
  const path = fileURLToPath(new URL('../docs/drivers.md', import.meta.url));
  const libvirt = new LibvirtDriver({ uri: 'test:///default', instancesPath: '/nonexistent' });
  const facts = { methods: NOVA_METHODS, flags: METHOD_CAPABILITY, drivers: [libvirt, new FakeDriver()] };
  writeFileSync(path, withTable(readFileSync(path, 'utf8'), facts));
}
