import { isIPv6 } from 'node:net';
import { DomainError } from '../../domain/errors.js';
import { type Endpoint } from '../ports.js';
import { authArguments, authFailed, permissionMissing, refusalHint, replyCodeOf } from '../resp.js';

/** Sends one command and gives its one reply line (`+…` or `-…`). */
export type Ask = (...command: readonly string[]) => Promise<string>;

export interface HandshakeOptions {
  /** What the source is, as a probe found it: Valkey chooses its RDB version by the one we claim to be. */
  engine: 'REDIS' | 'VALKEY';
  version: string;
  /** Whether to accept a diskless transfer. Without it the server saves to its own disk first, overwriting its dump file. */
  acceptDiskless: boolean;
  local: { address: string; port: number };
}

export interface Agreement {
  /** The server will send nothing behind the RDB and gathers no command stream for us. */
  rdbOnly: boolean;
}

/**
 * Everything before PSYNC, in the order real replicas keep. AUTH comes first and any error to it is final: with an open
 * default user the same connection would otherwise go on as somebody else. Each REPLCONF option is sent by itself, since
 * servers refuse the ones they do not know yet (ip-address ≥ 3.2, rdb-only ≥ 6.2, version: Valkey).
 */
export const shakeHands = async (ask: Ask, endpoint: Endpoint, address: string, options: HandshakeOptions): Promise<Agreement> => {
  const credential = authArguments(endpoint);
  if (credential) {
    const reply = await ask('AUTH', ...credential);
    if (!reply.startsWith('+') && !reply.startsWith('-')) throw noRedis(address, 'AUTH');
    if (reply !== '+OK') throw refusal(address, reply) ?? authFailed(address, reply.slice(1));
  }
  const pong = await ask('PING');
  if (pong.startsWith('-')) {
    // Without the right to PING, or as a replica without its master, PSYNC may still work; it has the last word.
    if (!['NOPERM', 'MASTERDOWN'].includes(replyCodeOf(pong))) throw replyError(address, 'PING', pong);
  } else if (pong !== '+PONG') throw noRedis(address, 'PING');

  const option = async (...args: readonly string[]): Promise<boolean> => {
    const reply = await ask('REPLCONF', ...args);
    if (reply.startsWith('+')) return true;
    if (!reply.startsWith('-')) throw noRedis(address, 'REPLCONF');
    if (replyCodeOf(reply) !== 'ERR') throw replyError(address, 'REPLCONF', reply);
    return false;
  };
  await option('listening-port', String(options.local.port));
  await option('ip-address', plainAddress(options.local.address));
  await option('capa', ...(options.acceptDiskless ? ['eof', 'capa', 'psync2'] : ['psync2']));
  if (options.engine === 'VALKEY') await option('version', options.version);
  return { rdbOnly: await option('rdb-only', '1') };
};

/** The reply to PSYNC: a full resynchronisation, or the reason why there is none. */
export const readFullResync = (address: string, line: string): { replicationId: string; offset: bigint } => {
  const match = /^\+FULLRESYNC ([0-9a-fA-F]{40}) (\d{1,19})$/.exec(line);
  if (match?.[1] !== undefined && match[2] !== undefined) return { replicationId: match[1], offset: BigInt(match[2]) };
  if (line.startsWith('-')) throw replyError(address, 'PSYNC', line);
  throw noRedis(address, 'PSYNC');
};

const plainAddress = (address: string): string => (isIPv6(address) && address.startsWith('::ffff:') ? address.slice(7) : address);

const noRedis = (address: string, command: string): DomainError =>
  new DomainError('PROTOCOL_ERROR', `${address} answered ${command} with something that is no reply to it.`, {
    hint: 'Check that this address is a Redis or Valkey server, and whether it expects TLS.',
  });

const refusal = (address: string, reply: string): DomainError | undefined => {
  const hint = refusalHint(reply);
  return hint === undefined ? undefined : new DomainError('CONNECT_FAILED', `${address} refuses this client: ${reply}`, { hint, retryable: true });
};

/** An error line as a DomainError. */
export const replyError = (address: string, command: string, line: string): DomainError => {
  const reply = line.replace(/^-/, '');
  const refused = refusal(address, reply);
  if (refused) return refused;
  switch (replyCodeOf(reply)) {
    case 'NOAUTH':
    case 'WRONGPASS':
      return authFailed(address, reply);
    case 'NOPERM':
      return permissionMissing(address, command, reply);
    case 'LOADING':
      return new DomainError('CONNECT_FAILED', `${address} is loading its data: ${reply}`, { hint: 'Try again when the server has loaded its data.', retryable: true });
    case 'NOMASTERLINK':
      return new DomainError('SOURCE_DISCONNECTED', `${address} is a replica that has lost its master: ${reply}`, {
        hint: 'Wait until the replica has its master again, or use the master as the source.',
        retryable: true,
      });
    case 'MISCONF':
      return new DomainError('SOURCE_DISCONNECTED', `${address} cannot save at the moment: ${reply}`, { hint: 'Check the server\'s disk and its log.', retryable: true });
    default:
      if (reply.startsWith('ERR unknown command')) {
        return new DomainError('ENGINE_UNSUPPORTED', `${address} knows no ${command}: ${reply}`, {
          hint: 'Managed services often forbid replication; such a server cannot be read this way.',
        });
      }
      return new DomainError('SOURCE_DISCONNECTED', `${address} refused ${command}: ${reply}`, { hint: 'Check the log of the server.', retryable: true });
  }
};
