// Compiler and linker flags of the libraries that the addon links to; says what to install where one is missing.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

const { pkg_modules: modules } = JSON.parse(
  readFileSync(new URL('../native/sources.gypi', import.meta.url), 'utf8'),
).variables;

const packages = {
  libvirt: { debian: 'libvirt-dev', fedora: 'libvirt-devel' },
  libqcow: { debian: 'libqcow-dev', fedora: 'libqcow-devel' },
  'libnl-route-3.0': { debian: 'libnl-route-3-dev', fedora: 'libnl3-devel' },
  nettle: { debian: 'nettle-dev', fedora: 'nettle-devel' },
  libdeflate: { debian: 'libdeflate-dev', fedora: 'libdeflate-devel' },
  libzstd: { debian: 'libzstd-dev', fedora: 'libzstd-devel' },
};

function pkgConfig(...args) {
  return execFileSync('pkg-config', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
}

/** Names of the pkg-config modules whose headers are not installed; all of them when pkg-config itself is missing. */
function missing() {
  try {
    pkgConfig('--version');
  } catch {
    return ['pkg-config', ...modules];
  }
  return modules.filter((name) => {
    try {
      pkgConfig('--exists', name);
      return false;
    } catch {
      return true;
    }
  });
}

const absent = missing();
if (absent.length > 0) {
  const install = (distribution) =>
    absent
      .map((name) => packages[name]?.[distribution] ?? (distribution === 'fedora' ? 'pkgconf' : name))
      .join(' ');
  console.error(`
node-compute: the addon cannot be built, headers or libraries are missing: ${absent.join(', ')}
  Debian, Ubuntu:  apt-get install g++ make pkg-config ${install('debian')}
  Fedora, RHEL:    dnf install gcc-c++ make ${install('fedora')}
`);
  process.exit(1);
}
if (process.argv[2]) console.log(pkgConfig(process.argv[2], ...modules));
