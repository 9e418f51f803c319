// Fails where native/sources.gypi and the tree disagree, or where a Node.js header appears outside native/addon.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = process.argv[2] ?? dirname(dirname(fileURLToPath(import.meta.url)));
const { core_sources: core, addon_sources: addon } = JSON.parse(
  readFileSync(join(root, 'native/sources.gypi'), 'utf8'),
).variables;

const files = readdirSync(join(root, 'native'), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => relative(root, join(entry.parentPath, entry.name)));
const sources = files.filter((file) => file.endsWith('.cc') && !file.startsWith('native/test/'));
const listed = [...core, ...addon];

const problems = [
  ...sources.filter((file) => !listed.includes(file)).map((file) => `${file} is not in native/sources.gypi`),
  ...listed.filter((file) => !sources.includes(file)).map((file) => `${file} is listed but does not exist`),
  ...listed.filter((file, index) => listed.indexOf(file) !== index).map((file) => `${file} is listed twice`),
  ...core.filter((file) => file.startsWith('native/addon/')).map((file) => `${file} is no core source`),
  ...addon.filter((file) => !file.startsWith('native/addon/')).map((file) => `${file} is no addon source`),
];

const nodeHeader =
  /^\s*#\s*include\s*[<"](?:napi(?:-inl)?|node_api|js_native_api|node|v8|uv)(?:_types)?\.h[>"]/m;
for (const file of files.filter((name) => /\.(?:cc|h)$/.test(name) && !name.startsWith('native/addon/'))) {
  const match = nodeHeader.exec(readFileSync(join(root, file), 'utf8'));
  if (match) problems.push(`${file} includes a Node.js header (${match[0].trim()}); only native/addon may`);
}

for (const problem of problems) console.error(`sources: ${problem}`);
if (problems.length > 0) process.exit(1);
console.log(`sources: ${core.length} core and ${addon.length} addon sources, all listed`);
