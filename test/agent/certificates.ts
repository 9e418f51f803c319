// Certificates for a broker of a test's own, made by openssl.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Paths. */
export interface TlsFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Of a broker at 127.0.0.1, `broker.test`, by an authority that no system trusts. */
export function makeCertificates(directory: string): TlsFiles {
  const openssl = (...args: string[]): void => {
    execFileSync('openssl', args, { cwd: directory, stdio: 'pipe' });
  };
  const subject = (name: string): string[] => [
    '-nodes',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-subj',
    `/CN=${name}`,
  ];
  openssl('req', '-x509', ...subject('test authority'), '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '2');
  openssl('req', ...subject('broker.test'), '-keyout', 'key.pem', '-out', 'cert.csr');
  writeFileSync(join(directory, 'names'), 'subjectAltName=DNS:broker.test,IP:127.0.0.1\n');
  openssl(
    'x509',
    '-req',
    '-in',
    'cert.csr',
    '-CA',
    'ca.pem',
    '-CAkey',
    'ca.key',
    '-CAcreateserial',
    '-days',
    '2',
    '-extfile',
    'names',
    '-out',
    'cert.pem',
  );
  const path = (name: string): string => join(directory, name);
  return { ca: path('ca.pem'), cert: path('cert.pem'), key: path('key.pem') };
}
