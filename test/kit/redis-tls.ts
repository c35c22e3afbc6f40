import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { makeTempDir } from './processes.js';

/** Paths of PEM files: an authority, a server certificate for localhost and 127.0.0.1, a client certificate, and an authority that signed neither. */
export interface TlsFiles {
  caFile: string;
  certFile: string;
  keyFile: string;
  clientCertFile: string;
  clientKeyFile: string;
  otherCaFile: string;
  otherCaKeyFile: string;
}

const run = promisify(execFile);
let made: Promise<TlsFiles> | undefined;

/** One set of throw-away certificates per process, made by openssl (which must be on the PATH). */
export const tlsFiles = (): Promise<TlsFiles> => (made ??= make());

export const readPem = (file: string): string => readFileSync(file, 'utf8');

const make = async (): Promise<TlsFiles> => {
  const dir = makeTempDir('tls');
  const at = (name: string): string => join(dir, name);
  const openssl = async (...args: string[]): Promise<void> => {
    try {
      await run('openssl', args);
    } catch (error) {
      throw new Error('TLS tests need the openssl program (Debian: apt-get install openssl)', { cause: error });
    }
  };
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  for (const ca of ['ca', 'other-ca']) {
    await openssl('req', '-x509', ...newKey, '-keyout', at(`${ca}.key`), '-out', at(`${ca}.pem`), '-days', '2', '-subj', `/CN=${ca}`);
  }
  writeFileSync(at('names'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n');
  for (const name of ['server', 'client']) {
    await openssl('req', ...newKey, '-keyout', at(`${name}.key`), '-out', at(`${name}.csr`), '-subj', `/CN=${name}`);
    await openssl('x509', '-req', '-in', at(`${name}.csr`), '-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial', '-days', '2', '-extfile', at('names'), '-out', at(`${name}.pem`));
  }
  return {
    caFile: at('ca.pem'), certFile: at('server.pem'), keyFile: at('server.key'),
    clientCertFile: at('client.pem'), clientKeyFile: at('client.key'), otherCaFile: at('other-ca.pem'), otherCaKeyFile: at('other-ca.key'),
  };
};
