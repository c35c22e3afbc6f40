import { lookup } from 'node:dns/promises';
import { connect as connectTcp, isIP, type OnReadOpts, type Socket } from 'node:net';
import { connect as connectTls, DEFAULT_CIPHERS, DEFAULT_MAX_VERSION, DEFAULT_MIN_VERSION, type SecureVersion, type TLSSocket } from 'node:tls';
import { domainToASCII } from 'node:url';
import { addressOf } from '../domain/address.js';
import { abortReason, DomainError } from '../domain/errors.js';
import { type Dial, type DialOptions, type Permit, type ReusedReading, type TlsOptions } from '../engine/ports.js';
import { addressBytes } from './ip.js';

/** Decides which addresses may be dialled. */
export interface ConnectPolicy {
  /** @param address numeric; mapped IPv4 arrives as plain IPv4 */
  allows(address: string, port: number): boolean;
}

/** For tests and benches of what is dialled for, not of the policy; no part of the service has it. */
export const ALLOW_EVERYTHING: ConnectPolicy = { allows: () => true };

/** Every address that a name has, each as a numeric one. */
export type ResolveName = (host: string) => Promise<readonly string[]>;

/** As every program on this machine resolves names: numbers in all their spellings, the hosts file, then the name servers. */
const asThisMachine: ResolveName = async (host) => (await lookup(host, { all: true })).map(({ address }) => address);

const DEFAULT_TIMEOUT_MS = 5_000;
/** A host with several addresses: no address may use up the time of those behind it, but each gets at least this. */
const MIN_ATTEMPT_MS = 250;

type Target = Parameters<Dial>[0];

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';

const HINTS: Readonly<Record<string, string>> = {
  ENOTFOUND: 'No such host name: check the spelling, and that this service can resolve it.',
  EAI_AGAIN: 'The name server did not answer: try again, or give the address instead of the name.',
  ECONNREFUSED: 'Connection refused: nothing listens there. Check the port and that the server runs.',
  ETIMEDOUT: 'Timed out: check the address, and that no firewall lies between.',
  EHOSTUNREACH: 'No route to the host: check the address and the network.',
  ENETUNREACH: 'No route to the network: check the address and the network.',
};

const tlsHint = (code: string): string =>
  /CERT|SIGNATURE|ALTNAME|ISSUER/.test(code)
    ? 'The certificate was not accepted: give its CA in tls.ca, or the name it is made out to in tls.serverName.'
    : 'The TLS handshake failed: check that this port speaks TLS, and which client certificate it asks for.';

const connectFailed = (to: Target, what: string, hint: string, cause?: unknown): DomainError =>
  new DomainError('CONNECT_FAILED', `Connecting to ${addressOf(to)} failed: ${what}.`, { hint, retryable: true, cause });

const resolve = async (to: Target, resolveName: ResolveName): Promise<readonly string[]> => {
  const found = await resolveName(to.host).catch((error: unknown) => {
    const code = codeOf(error);
    throw connectFailed(to, `the name could not be resolved (${code})`, HINTS[code] ?? 'Check the host name.', error);
  });
  if (found.length === 0) throw connectFailed(to, 'the name has no address', 'Check the host name.');
  // IPv4 in IPv6's clothes is IPv4, which is what the kernel dials.
  return found.map((address) => {
    const bytes = addressBytes(address);
    return bytes?.length === 4 ? bytes.join('.') : address;
  });
};

/** Waits for `ready` on a fresh socket; destroys it when it fails or when `signal` fires first. */
const established = (socket: Socket, ready: 'connect' | 'secureConnect', signal: AbortSignal): Promise<void> =>
  new Promise((done, fail) => {
    const finish = (error?: unknown): void => {
      socket.off(ready, onReady).off('error', finish).off('close', onClose);
      signal.removeEventListener('abort', onAbort);
      if (error === undefined) return done();
      socket.destroy();
      fail(error instanceof Error ? error : new Error(String(error)));
    };
    const onReady = (): void => finish();
    const onClose = (): void => finish(Object.assign(new Error('closed during the handshake'), { code: 'ECONNRESET' }));
    const onAbort = (): void => finish(signal.reason);
    socket.once(ready, onReady).once('error', finish).once('close', onClose);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
  });

/** A socket that lost its listener for a moment must not end the process: every error is also followed by `close`. */
const tolerateErrors = <S extends Socket>(socket: S): S => {
  socket.on('error', () => undefined);
  return socket;
};

/** What this process speaks where nobody says otherwise: options of Node say it to the main thread only. */
export interface TlsDefaults {
  minVersion: SecureVersion;
  maxVersion: SecureVersion;
  ciphers: string;
}
export const TLS_DEFAULTS: TlsDefaults = { minVersion: DEFAULT_MIN_VERSION, maxVersion: DEFAULT_MAX_VERSION, ciphers: DEFAULT_CIPHERS };

const startTls = (raw: Socket, to: Target, tls: TlsOptions, defaults: TlsDefaults): TLSSocket => {
  // The dot of an absolute name belongs to the resolver; no certificate has it.
  const name = (tls.serverName ?? to.host).replace(/\.$/, '');
  return connectTls({
    ...defaults,
    socket: raw,
    host: name,
    // SNI carries names only, in ASCII (RFC 6066); the certificate of an address is checked against `host`.
    ...(isIP(name) ? {} : { servername: domainToASCII(name) || name }),
    ca: tls.ca,
    cert: tls.cert,
    key: tls.key,
    rejectUnauthorized: tls.insecure !== true,
  });
};

const TIMED_OUT = Symbol('timed out');

// What `take` says means the same to Node.
const onreadOf = ({ memory, take }: ReusedReading): OnReadOpts => ({ buffer: memory, callback: take });

/** One address: TCP, then TLS where asked, both inside `signal`. */
const dialAddress = async (to: Target, address: string, signal: AbortSignal, reading: ReusedReading | undefined, defaults: TlsDefaults): Promise<Socket> => {
  const raw = tolerateErrors(connectTcp({ host: address, port: to.port, noDelay: true, keepAlive: true, ...(to.tls || !reading ? {} : { onread: onreadOf(reading) }) }));
  try {
    await established(raw, 'connect', signal);
  } catch (error) {
    if (signal.aborted) throw error;
    const code = codeOf(error);
    throw connectFailed(to, `${address} answered ${code || 'with an error'}`, HINTS[code] ?? 'Check the address and the network.', error);
  }
  if (!to.tls) return raw;
  let secure: TLSSocket | undefined;
  try {
    secure = tolerateErrors(startTls(raw, to, to.tls, defaults));
    await established(secure, 'secureConnect', signal);
    return secure;
  } catch (error) {
    raw.destroy();
    if (signal.aborted) throw error;
    const code = codeOf(error);
    throw connectFailed(to, `the TLS handshake failed${code ? ` (${code})` : ''}`, tlsHint(code), error);
  }
};

/** What may be dialled under a name, all of it. */
export const createPermit = (policy: ConnectPolicy, resolveName: ResolveName = asThisMachine): Permit => async (to) => {
  const addresses = await resolve(to, resolveName);
  if (!addresses.every((address) => policy.allows(address, to.port))) {
    throw new DomainError('TARGET_NOT_ALLOWED', `${addressOf(to)} may not be dialled: it is outside what this service may reach.`, {
      hint: 'Use another address, or ask the operator to allow this one (CONNECT_ALLOW).',
    });
  }
  return addresses;
};

/**
 * The rest of the way out, for a thread on which nobody knows the policy: dials the addresses that it is given for a host, and asks for them each time.
 * @param permit asks the thread that made it with `createPermit`
 * @param defaults of that thread
 */
export const createPermittedDial = (permit: Permit, defaults: TlsDefaults = TLS_DEFAULTS): Dial => (to, options = {}) => dialPermitted(permit, to, options, defaults);

/**
 * Makes the one way out of this service. A name is resolved once and *all* its addresses are put to the policy (one that is
 * refused refuses the name, so that a name with mixed answers gets nowhere); the connection goes to an address that was
 * checked, never to the name. Addresses are tried in the resolver's order within the time allowed. What is refused is refused
 * before anything is sent there, in words that say neither what listens there nor where the name leads.
 */
export const createDial = (policy: ConnectPolicy, resolveName: ResolveName = asThisMachine): Dial => {
  const permit = createPermit(policy, resolveName);
  return (to, options = {}) => dialPermitted(permit, to, options, TLS_DEFAULTS);
};

const dialPermitted = async (permit: Permit, to: Target, options: DialOptions, defaults: TlsDefaults): Promise<Socket> => {
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  if (!Number.isInteger(to.port) || to.port < 1 || to.port > 65_535) {
    throw new DomainError('BAD_INPUT', `${to.port} is no TCP port.`, { hint: 'Give a port between 1 and 65535.', field: ['port'] });
  }
  if (options.signal?.aborted) throw abortReason(options.signal);

  const deadline = Date.now() + timeoutMs;
  const stop = new AbortController();
  const onAbort = (): void => stop.abort(options.signal?.reason);
  options.signal?.addEventListener('abort', onAbort, { once: true });
  const timer = setTimeout(() => stop.abort(TIMED_OUT), timeoutMs);
  const stopped = (doing: string): DomainError =>
    options.signal?.aborted
      ? abortReason(options.signal)
      : connectFailed(to, `no answer within ${timeoutMs} ms (${doing})`, to.tls ? 'Timed out: check the address, and that this port speaks TLS.' : 'Timed out: check the address, and that no firewall lies between.');

  try {
    const addresses = await withinSignal(permit(to), stop.signal, () => stopped('resolving the name'));
    let failure: unknown;
    for (const [index, address] of addresses.entries()) {
      const share = Math.max(MIN_ATTEMPT_MS, (deadline - Date.now()) / (addresses.length - index));
      const attempt = new AbortController();
      const attemptTimer = setTimeout(() => attempt.abort(TIMED_OUT), share);
      try {
        return await dialAddress(to, address, AbortSignal.any([stop.signal, attempt.signal]), options.reading, defaults);
      } catch (error) {
        if (stop.signal.aborted) throw stopped(`connecting to ${address}`);
        failure = attempt.signal.aborted ? stopped(`connecting to ${address}`) : error;
      } finally {
        clearTimeout(attemptTimer);
      }
    }
    throw failure;
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener('abort', onAbort);
  }
};

/** `promise`, or an error once `signal` fires. A name lookup cannot be cancelled: its late answer is dropped. */
const withinSignal = <T>(promise: Promise<T>, signal: AbortSignal, failure: () => DomainError): Promise<T> =>
  new Promise((done, fail) => {
    const onAbort = (): void => fail(failure());
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    void promise.then(done, fail).finally(() => signal.removeEventListener('abort', onAbort));
  });
