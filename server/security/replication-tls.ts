import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { DomainError } from '../domain/errors.js';
import { type ListenerTls } from '../engine/ports.js';

const HINT = 'REPLICATION_TLS_CERT, REPLICATION_TLS_KEY and REPLICATION_TLS_CA must be PEM files that this service may read, and the key that of the certificate.';

const readPem = (path: string): Promise<string> =>
  readFile(path, 'utf8').catch((cause: unknown) => {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'an error';
    throw new DomainError('KEY_UNAVAILABLE', `The PEM file ${path} of the restore listener cannot be read (${code}).`, { hint: HINT, cause });
  });

/**
 * Reads what the restore listener shows to targets that replicate over TLS; each time anew, since certificates are renewed in their files. Fails
 * with KEY_UNAVAILABLE when a file cannot be read or the three do not make a certificate.
 */
export const replicationTls = (files: { certFile: string; keyFile: string; caFile: string | null }) => async (): Promise<ListenerTls> => {
  const [cert, key, ca] = await Promise.all([readPem(files.certFile), readPem(files.keyFile), files.caFile === null ? undefined : readPem(files.caFile)]);
  try {
    createSecureContext({ cert, key, ca });
  } catch (cause) {
    throw new DomainError('KEY_UNAVAILABLE', `${files.certFile} and ${files.keyFile} are not a certificate and its key, or the authority is none.`, { hint: HINT, cause });
  }
  return { cert, key, ca };
};
