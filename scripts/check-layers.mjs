// Fails where an import in src/ goes against the layers, where imports form a cycle, or where a file has grown too long.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = process.argv[2] ?? dirname(dirname(fileURLToPath(import.meta.url)));
const MOST_LINES = 500;
const MANY_LINES = 300;

const seam = [
  'native',
  'native-devices',
  'native-domain',
  'native-events',
  'native-image',
  'native-usage',
  'driver',
  'version',
];
const hypervisor = ['resources', 'image', 'network', 'config-drive', ...seam];
const every = ['agent', 'node', 'libvirt', 'fake', ...hypervisor];

/**
 * What each layer may import besides itself; type-only imports count. `driver` is the vocabulary of all (contract, model,
 * errors), `native` the addon's seam. Hypervisor drivers are reached by name, through the registry: only `index` and
 * `cli` import one, and none imports another.
 */
const LAYERS = {
  version: [],
  driver: ['version'],
  'native-error': ['driver', 'version'],
  'native-image': [],
  'native-devices': ['native-image'],
  'native-domain': ['native-image'],
  'native-events': ['native-domain'],
  'native-network': ['native-image'],
  'native-usage': ['native-image'],
  native: [
    'native-devices',
    'native-domain',
    'native-events',
    'native-image',
    'native-network',
    'native-usage',
    'native-error',
    'driver',
    'version',
  ],
  image: seam,
  network: seam,
  resources: seam,
  'config-drive': seam,
  libvirt: hypervisor,
  fake: hypervisor,
  node: hypervisor,
  agent: ['node', 'resources', 'driver', 'version'],
  index: every,
  cli: ['index', ...every],
};

const layerOf = (file) => relative(join(root, 'src'), file).split('/')[0].replace(/\.ts$/, '');

/** Source text with its comments blanked out, strings kept: a comment may show an import. */
function withoutComments(text) {
  return text.replace(/\/\*[\s\S]*?\*\/|(?<![:'"`\\])\/\/[^\n]*/g, (comment) =>
    comment.replace(/[^\n]/g, ' '),
  );
}

function importsOf(text) {
  const found = [];
  const pattern =
    /\b(?:import|export)\b[^'"`;]*?\bfrom\s*(['"])(.+?)\1|\bimport\s*(['"])(.+?)\3|\bimport\s*\(\s*(['"`])(.+?)\5/g;
  for (const match of text.matchAll(pattern)) found.push(match[2] ?? match[4] ?? match[6]);
  return found;
}

function sourceOf(file, specifier) {
  const target = resolve(dirname(file), specifier).replace(/\.js$/, '.ts');
  return existsSync(target) ? target : undefined;
}

function cycles(graph) {
  const found = [];
  const state = new Map();
  const path = [];
  const visit = (file) => {
    state.set(file, 'open');
    path.push(file);
    for (const next of graph.get(file) ?? []) {
      if (state.get(next) === 'open') found.push([...path.slice(path.indexOf(next)), next]);
      else if (!state.has(next)) visit(next);
    }
    path.pop();
    state.set(file, 'done');
  };
  for (const file of graph.keys()) if (!state.has(file)) visit(file);
  return found;
}

function listFiles(directory, pattern) {
  if (!existsSync(join(root, directory))) return [];
  return readdirSync(join(root, directory), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && pattern.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => !file.includes('/node_modules/'))
    .sort();
}

const problems = [];
const name = (file) => relative(root, file);
const graph = new Map();

for (const file of listFiles('src', /\.ts$/)) {
  const layer = layerOf(file);
  const text = withoutComments(readFileSync(file, 'utf8'));
  if (!(layer in LAYERS)) {
    problems.push(`${name(file)}: layer ${layer} is not in the table of scripts/check-layers.mjs`);
    continue;
  }
  if (layer !== 'native' && /\bdlopen\b|\.node['"`]/.test(text)) {
    problems.push(`${name(file)}: only src/native.ts loads an addon`);
  }
  const targets = [];
  for (const specifier of importsOf(text)) {
    if (!specifier.startsWith('.')) continue;
    const target = sourceOf(file, specifier);
    if (!target) {
      problems.push(`${name(file)}: ${specifier} names no file in src/`);
      continue;
    }
    targets.push(target);
    const wanted = layerOf(target);
    if (wanted !== layer && !LAYERS[layer].includes(wanted)) {
      problems.push(`${name(file)}: layer ${layer} may not import ${wanted} (${name(target)})`);
    }
  }
  graph.set(file, targets);
}
for (const cycle of cycles(graph)) problems.push(`import cycle: ${cycle.map(name).join(' -> ')}`);

for (const file of [
  ...listFiles('src', /\.ts$/),
  ...listFiles('native', /\.(?:cc|h)$/),
  ...listFiles('scripts', /\.mjs$/),
]) {
  const lines = readFileSync(file, 'utf8').split('\n').length - 1;
  if (lines > MOST_LINES) problems.push(`${name(file)}: ${lines} lines, at most ${MOST_LINES}`);
  else if (lines > MANY_LINES)
    console.log(`layers: ${name(file)} has ${lines} lines; aim under ${MANY_LINES}`);
}

for (const problem of problems) console.error(`layers: ${problem}`);
if (problems.length > 0) process.exit(1);
console.log(`layers: ${graph.size} files, no import against the layers, no cycle`);
