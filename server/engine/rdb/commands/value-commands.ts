import { type LossName } from '../losses.js';
import { type RdbMagic } from '../summary.js';
import { hasFieldExpiry, hasStreams } from '../transfer.js';
import { decodeValue } from '../values/decode.js';
import { compareVersions, type ServerVersion } from '../versions.js';
import { word, type Command } from './batch.js';
import { elementCommands, fieldCommands, memberCommands } from './collection-commands.js';
import { streamCommands } from './stream-commands.js';

export { type Command } from './batch.js';

export interface ValueCommandsInput {
  /** Type byte of the value, and the word its file begins with. */
  rdbType: number;
  magic: RdbMagic;
  key: Uint8Array;
  /** The value as it stands in the RDB, or in a DUMP payload between the type byte and the last ten bytes. */
  value: Uint8Array;
  /** Where the value stands in its file, for errors. Default 0. */
  offset?: number | undefined;
  target: ServerVersion;
  /** Unix milliseconds. Fields of hashes that had expired by then are left out. */
  nowMs: number;
  /** The key's expiry, in Unix milliseconds; set behind its value. Default null: none. */
  expiresAtMs?: number | null | undefined;
  /** Removes the key first. Default false: the caller knows that it is not there, or the commands would add to it. */
  replace?: boolean | undefined;
  /** Maps the expiry of each field (Unix milliseconds; null: it does not expire). Default: as it is. */
  fieldExpiry?: ((expiresAtMs: number) => number | null) | undefined;
  /** Told at the end, once for each loss that this value has met: how many fields, members, pending entries or (STREAMS) keys. */
  onLoss?: ((name: LossName, count: number) => void) | undefined;
}

/**
 * The commands that make a key on a target of any version, for values of every type and encoding; each is to be answered without an error, in
 * this order and with no other command for the key between them. At most 512 elements or 64 KiB each, unless one element is larger. All concern
 * this one key, so that they go to one node of a cluster.
 *
 * None but the DEL of `replace` comes when nothing is left of the value (all of its fields have expired, or STREAMS is lost).
 *
 * Fails as `decodeValue` does, possibly when commands have been sent: the key is then incomplete, and is to be removed.
 */
export function* valueCommands(input: ValueCommandsInput): Generator<Command, void> {
  const { target, nowMs, expiresAtMs = null } = input;
  const key = Buffer.from(input.key.buffer, input.key.byteOffset, input.key.length);
  const losses = new Map<LossName, number>();
  const lose = (name: LossName) => (): void => void losses.set(name, (losses.get(name) ?? 0) + 1);
  const since = (version: string): boolean => target.engine === 'VALKEY' || compareVersions(target.version, version) >= 0;

  const makeValue = function* (): Generator<Command, void> {
    const decoded = decodeValue(input.rdbType, input.magic, input.value, input.offset);
    switch (decoded.kind) {
      case 'STRING':
        yield [word('SET'), key, decoded.value];
        return;
      case 'LIST':
        yield* elementCommands([word('RPUSH'), key], decoded.elements);
        return;
      case 'SET':
        yield* elementCommands([word('SADD'), key], decoded.elements);
        return;
      case 'SORTED_SET':
        yield* memberCommands([word('ZADD'), key], decoded.members, lose('NAN_SCORES'));
        return;
      case 'HASH':
        yield* fieldCommands([word(since('4.0') ? 'HSET' : 'HMSET'), key], key, decoded.fields, {
          expires: hasFieldExpiry(target), nowMs, expiry: input.fieldExpiry ?? ((at) => at), onExpiryLost: lose('FIELD_TTL'),
        });
        return;
      case 'STREAM':
        if (hasStreams(target)) yield* streamCommands(key, decoded.stream, target, lose('PENDING_ENTRIES'));
        else lose('STREAMS')();
        return;
    }
  };

  if (input.replace === true) yield [word(since('4.0') ? 'UNLINK' : 'DEL'), key];
  let made = false;
  for (const command of makeValue()) {
    made = true;
    yield command;
  }
  if (made && expiresAtMs !== null) yield [word('PEXPIREAT'), key, word(expiresAtMs)];
  for (const [name, count] of losses) input.onLoss?.(name, count);
}
