import { addressOf } from '../../domain/address.js';
import { DomainError } from '../../domain/errors.js';
import { type ProbeReport } from '../../domain/server-report.js';
import { type Control, type ControlDeps, openControl } from '../control.js';
import { type Endpoint } from '../ports.js';
import { hasSentinelClient, infoFacts, slotsOfMyself } from './info-facts.js';
import { optional } from './optional.js';
import { readRights } from './rights.js';

export interface ProbeOptions {
  signal?: AbortSignal | undefined;
  /** For everything, name resolution included. Default 4,000 ms, so that an answer is there within 5 seconds on a busy machine too. */
  timeoutMs?: number | undefined;
}

/**
 * Looks at a server and changes nothing there. Needs only the right to INFO; what other commands would tell is null without theirs.
 *
 * Fails with CONNECT_FAILED (down, silent, too slow), TARGET_NOT_ALLOWED, AUTH_FAILED, PERMISSION_MISSING (INFO),
 * PROTOCOL_ERROR (no Redis), ENGINE_UNSUPPORTED (Redis before 2.8, lookalikes), or the signal's reason.
 */
export const probe = async (endpoint: Endpoint, deps: ControlDeps, options: ProbeOptions = {}): Promise<ProbeReport> => {
  const timeoutMs = options.timeoutMs ?? 4_000;
  const address = addressOf(endpoint);
  const late = new AbortController();
  const timer = setTimeout(() => {
    late.abort(new DomainError('CONNECT_FAILED', `${address} could not be probed within ${timeoutMs} ms.`, {
      hint: 'The server or the network is too slow, or the server is silent: check both.',
      retryable: true,
    }));
  }, timeoutMs);
  const signal = options.signal ? AbortSignal.any([options.signal, late.signal]) : late.signal;
  let control: Control | undefined;
  try {
    // A little less than the whole, so that a server that cannot be reached is told apart from one that is only slow.
    control = await openControl(endpoint, deps, { signal, timeoutMs: Math.ceil(timeoutMs * 0.9) });
    return await look(control, address, endpoint.username);
  } finally {
    clearTimeout(timer);
    control?.close();
  }
};

const look = async (control: Control, address: string, username: string | undefined): Promise<ProbeReport> => {
  const facts = infoFacts(address, await control.info());
  const config = (name: string): Promise<string | null> => readConfig(control, name);
  const [rights, saveRules, rdbChecksum, maxMemory, maxMemoryPolicy, clients, nodes] = await Promise.all([
    readRights(control, facts, username),
    config('save'),
    config('rdbchecksum'),
    facts.maxMemoryBytes === null ? config('maxmemory') : null,
    facts.maxMemoryPolicy === null ? config('maxmemory-policy') : null,
    optional(control.call('CLIENT', 'LIST')),
    facts.mode === 'CLUSTER' ? optional(control.call('CLUSTER', 'NODES')) : undefined,
  ]);
  return {
    ...facts,
    maxMemoryBytes: facts.maxMemoryBytes ?? (maxMemory !== null && /^\d+$/.test(maxMemory) ? BigInt(maxMemory) : null),
    maxMemoryPolicy: facts.maxMemoryPolicy ?? maxMemoryPolicy,
    persistence: { ...facts.persistence, saveRules, rdbChecksum: rdbChecksum === null ? null : rdbChecksum === 'yes' },
    sentinelWatched: typeof clients === 'string' ? hasSentinelClient(clients) : null,
    slots: typeof nodes === 'string' ? slotsOfMyself(nodes) : [],
    rights,
  };
};

/** One setting, or null when the user may not read it or the server does not have it. */
const readConfig = async (control: Control, name: string): Promise<string | null> => {
  const reply = await optional(control.call('CONFIG', 'GET', name));
  const value: unknown = Array.isArray(reply) ? reply[1] : undefined;
  return typeof value === 'string' ? value : null;
};
