import { createPrivateKey, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { createSecureContext } from 'node:tls';
import { domainToASCII } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { DomainError } from '../domain/errors.js';
import { type HostPort } from '../domain/source.js';
import { type RegisterInstance, type TlsChange, type UpdateInstance } from './api.js';
import { checkName, checkText } from './names.js';
import { type InstanceSecrets } from './ports.js';
import { type InstanceRecord, type InstanceTlsRecord } from './records.js';

export const tlsRecord = (tls: TlsChange): InstanceTlsRecord => ({
  serverName: tls.serverName ?? null,
  hasCa: tls.ca != null,
  hasClientCertificate: tls.cert != null,
  insecureSkipVerify: tls.insecureSkipVerify,
});

export const tlsSecrets = (tls: TlsChange): NonNullable<InstanceSecrets['tls']> => ({ ca: tls.ca ?? null, cert: tls.cert ?? null, key: tls.key ?? null });

/** Labels of letters, digits, `-` and, which DNS proper does not have but networks do, `_`. */
const NAME = /^[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*\.?$/i;

const isHost = (text: string): boolean => {
  if (isIP(text) !== 0) return true;
  // `domainToASCII` reads its argument as a part of a URL and would drop what follows the name there.
  const ascii = /^[\x21-\x7e]*$/.test(text) ? text : /[\s/?#@:%\\[\]]/.test(text) ? '' : domainToASCII(text);
  return NAME.test(ascii);
};

const checkHost = (host: string, field: readonly string[]): void => {
  checkText(host, field, { max: 253, blanks: false });
  if (isHost(host)) return;
  throw new DomainError('BAD_INPUT', `"${field.join('.')}" is a host name or an address alone.`, {
    hint: 'Leave out scheme, credentials, port, brackets and path; the port has a field of its own.', field,
  });
};

const checkPort = (port: number, field: readonly string[] = ['port']): void => {
  if (port < 1 || port > 65_535) throw new DomainError('BAD_INPUT', 'A port is from 1 to 65535.', { field });
};

const checkCredential = (username: string | null | undefined, password: string | null | undefined): void => {
  if (username != null) checkText(username, ['username'], { max: 256, blanks: false });
  if (password != null && (password.length < 1 || password.length > 4096)) {
    throw new DomainError('BAD_INPUT', 'A password has 1 to 4096 characters; leave it out for none.', { field: ['password'] });
  }
  if (username != null && password == null) {
    throw new DomainError('BAD_INPUT', 'A user name needs a password.', { field: ['password'] });
  }
};

/** Runs what OpenSSL says about a PEM; its own words tell nothing that helps, and their causes may hold the text. */
const readable = (field: 'ca' | 'cert' | 'key', what: string, read: () => unknown): void => {
  try {
    read();
  } catch {
    throw new DomainError('BAD_INPUT', `"tls.${field}" is not ${what}.`, { field: ['tls', field] });
  }
};

const checkTls = ({ ca, cert, key, serverName }: TlsChange): void => {
  if ((cert == null) !== (key == null)) {
    throw new DomainError('BAD_INPUT', 'A client certificate needs its key, and the key its certificate.', { field: ['tls', cert == null ? 'cert' : 'key'] });
  }
  for (const [name, pem] of Object.entries({ ca, cert, key })) {
    if (pem != null && (pem.length > 65_536 || !pem.includes('-----BEGIN '))) {
      throw new DomainError('BAD_INPUT', `"tls.${name}" must be PEM of at most 64 KiB.`, { field: ['tls', name] });
    }
  }
  if (ca != null) readable('ca', 'a certificate', () => new X509Certificate(ca));
  if (cert != null && key != null) {
    readable('cert', 'a certificate', () => new X509Certificate(cert));
    readable('key', 'a private key without a pass phrase', () => createPrivateKey(key));
    readable('key', 'the key of "tls.cert"', () => createSecureContext({ cert, key }));
  }
  if (serverName != null) checkHost(serverName, ['tls', 'serverName']);
};

const checkReplica = ({ host, port }: HostPort): void => {
  checkHost(host, ['replica', 'host']);
  checkPort(port, ['replica', 'port']);
};

export const addressAlone = (replica: HostPort | null | undefined): HostPort | null => (replica ? { host: replica.host, port: replica.port } : null);

export const checkRegistration = (input: RegisterInstance): void => {
  checkName(input.name);
  checkHost(input.host, ['host']);
  checkPort(input.port);
  checkCredential(input.username, input.password);
  if (input.tls) checkTls(input.tls);
  if (input.replica) checkReplica(input.replica);
};

export interface Merged {
  instance: InstanceRecord;
  secrets: InstanceSecrets;
  /** What we connect with changes, or what the last probe was judged by. */
  redial: boolean;
  /** A replica is named that was not before. */
  proof: boolean;
}

/** The instance as it is to be. Fails with BAD_INPUT for what it cannot be. */
export const mergeChange = (known: InstanceRecord, secrets: InstanceSecrets, input: UpdateInstance): Merged => {
  const merged: InstanceSecrets = {
    password: input.password === undefined ? secrets.password : input.password,
    tls: input.tls === undefined ? secrets.tls : input.tls && tlsSecrets(input.tls),
  };
  const instance: InstanceRecord = {
    ...known,
    name: input.name ?? known.name,
    host: input.host ?? known.host,
    port: input.port ?? known.port,
    username: input.username === undefined ? known.username : input.username,
    hasPassword: merged.password !== null,
    acceptPartial: input.acceptPartial ?? known.acceptPartial,
    sourcePreference: input.sourcePreference ?? known.sourcePreference,
    replica: input.replica === undefined ? known.replica : addressAlone(input.replica),
    skipSyncDelay: input.skipSyncDelay ?? known.skipSyncDelay,
    tls: input.tls === undefined ? known.tls : input.tls && tlsRecord(input.tls),
  };
  checkName(instance.name);
  checkHost(instance.host, ['host']);
  checkPort(instance.port);
  checkCredential(instance.username, merged.password);
  if (input.tls) checkTls(input.tls);
  if (input.replica) checkReplica(input.replica);
  const redial =
    input.host != null || input.port != null || [input.username, input.password, input.tls].some((value) => value !== undefined) || instance.acceptPartial !== known.acceptPartial;
  return { instance, secrets: merged, redial, proof: instance.replica !== null && !isDeepStrictEqual(instance.replica, known.replica) };
};
