import { hasStreamCounters } from '../transfer.js';
import { compareVersions, type ServerVersion } from '../versions.js';
import { compareIds, type StreamConsumer, type StreamValue } from '../values/stream.js';
import { idText, isAfter, isZero, type StreamId } from '../values/stream-id.js';
import { Batch, word, type Command } from './batch.js';

const XADD = word('XADD');
const XDEL = word('XDEL');
const XTRIM = word('XTRIM');
const XSETID = word('XSETID');
const XGROUP = word('XGROUP');
const XCLAIM = word('XCLAIM');
const MAXLEN = word('MAXLEN');
const CREATE = word('CREATE');
const ZERO = word(0);
const PLACEHOLDER = [word('x'), word('y')] as const;

const MOST_CLAIMED = 512;

/** XGROUP CREATECONSUMER. */
const hasCreateConsumer = ({ engine, version }: ServerVersion): boolean => engine === 'VALKEY' || compareVersions(version, '6.2') >= 0;

/**
 * The commands that make a stream, in the order that the servers' own append-only files have them (aof.c, rewriteStreamObject): entries, last ID and
 * counters, groups, consumers and their pending entries.
 *
 * XCLAIM makes an entry pending only if the stream has it. So for those that are pending and were deleted or trimmed, which an append-only file
 * loses, placeholders are added, claimed, and removed again: those before the first entry by XTRIM, which leaves the highest deleted ID
 * alone, as the trimming did that removed them at first; the others by XDEL.
 *
 * @param onPendingLost called for each pending entry beyond the stream's last ID (XSETID before 7.0 allows that); it cannot be made
 */
export function* streamCommands(key: Buffer, stream: StreamValue, target: ServerVersion, onPendingLost: () => void): Generator<Command, void> {
  const counters = hasStreamCounters(target);
  const createsConsumers = hasCreateConsumer(target);
  const gone = new GoneEntries(stream);
  yield* addEntries(key, stream, gone);
  yield setId(key, stream, counters, gone.count);
  for (const group of stream.groups()) {
    const read = counters && group.entriesRead !== null ? [word('ENTRIESREAD'), word(group.entriesRead)] : [];
    yield [XGROUP, CREATE, key, group.name, word(idText(group.lastId)), ...read];
    for (const consumer of group.consumers()) yield* consumerCommands(key, group.name, consumer, stream.lastId, { createsConsumers, onPendingLost });
  }
  if (gone.count === 0) return;
  yield* gone.removal(key, stream.length);
  if (counters) yield setId(key, stream, counters, 0);
}

/** IDs that are pending and not in the stream, up to its last ID. */
class GoneEntries {
  private readonly bytes: Buffer;
  private readonly positions: number[];
  private index = 0;
  private readonly before: number[] = [];
  private readonly between: number[] = [];

  constructor(private readonly stream: StreamValue) {
    const { bytes, at } = stream.pendingIds();
    this.bytes = bytes;
    this.positions = at.sort((a, b) => compareIds(bytes, a, b));
  }

  get count(): number {
    return this.before.length + this.between.length;
  }

  /** The next of them that comes before `id`, or, without one, up to the stream's last ID. `id` itself is passed over. */
  next(id: StreamId | null, isFirst: boolean): StreamId | null {
    for (;;) {
      const position = this.positions[this.index];
      if (position === undefined) return null;
      const candidate = this.idAt(position);
      if (id === null ? isAfter(candidate, this.stream.lastId) : isAfter(candidate, id)) return null;
      this.index += 1;
      const previous = this.positions[this.index - 2];
      const again = previous !== undefined && compareIds(this.bytes, previous, position) === 0;
      if (again || isZero(candidate) || (id !== null && !isAfter(id, candidate))) continue;
      (isFirst ? this.before : this.between).push(position);
      return candidate;
    }
  }

  *removal(key: Buffer, length: number): Generator<Command, void> {
    const batch = new Batch([XDEL, key]);
    for (const position of this.between) {
      const command = batch.add(word(idText(this.idAt(position))));
      if (command !== null) yield command;
    }
    const rest = batch.rest();
    if (rest !== null) yield rest;
    if (this.before.length > 0) yield [XTRIM, key, MAXLEN, word(length)];
  }

  private idAt(position: number): StreamId {
    return { ms: this.bytes.readBigUInt64BE(position), seq: this.bytes.readBigUInt64BE(position + 8) };
  }
}

function* addEntries(key: Buffer, stream: StreamValue, gone: GoneEntries): Generator<Command, void> {
  const add = (id: StreamId, fields: readonly Buffer[]): Command => [XADD, key, word(idText(id)), ...fields];
  let added = 0;
  const placeholders = function* (before: StreamId | null): Generator<Command, void> {
    const isFirst = added === 0;
    for (let id = gone.next(before, isFirst); id !== null; id = gone.next(before, isFirst)) yield add(id, PLACEHOLDER);
  };
  for (const { id, fields } of stream.entries()) {
    yield* placeholders(id);
    added += 1;
    yield add(id, fields);
  }
  yield* placeholders(null);
  // No command makes an empty stream outright.
  if (added === 0 && gone.count === 0) yield [XADD, key, MAXLEN, ZERO, word('0-1'), ...PLACEHOLDER];
}

const setId = (key: Buffer, stream: StreamValue, counters: boolean, placeholders: number): Command => {
  const command = [XSETID, key, word(idText(stream.lastId))];
  if (!counters) return command;
  const { entriesAdded, maxDeletedId } = stream.counters ?? { entriesAdded: 0n, maxDeletedId: { ms: 0n, seq: 0n } };
  const present = BigInt(stream.length + placeholders);
  command.push(word('ENTRIESADDED'), word(entriesAdded > present ? entriesAdded : present));
  if (!isZero(maxDeletedId)) command.push(word('MAXDELETEDID'), word(idText(maxDeletedId)));
  return command;
};

interface ConsumerRules {
  createsConsumers: boolean;
  onPendingLost: () => void;
}

/** Claims of a consumer, several entries at once where they were delivered at one time and equally often. */
function* consumerCommands(key: Buffer, group: Buffer, consumer: StreamConsumer, lastId: StreamId, rules: ConsumerRules): Generator<Command, void> {
  let ids: Buffer[] = [];
  let time = 0n;
  let count = 0n;
  let claimed = false;
  const claim = (): Command => {
    claimed = true;
    const command = [XCLAIM, key, group, consumer.name, ZERO, ...ids, word('TIME'), word(time), word('RETRYCOUNT'), word(count), word('FORCE'), word('JUSTID')];
    ids = [];
    return command;
  };
  for (const { id, deliveredAtMs, deliveries } of consumer.pending()) {
    if (isAfter(id, lastId) || isZero(id)) {
      rules.onPendingLost();
      continue;
    }
    if (ids.length > 0 && (ids.length >= MOST_CLAIMED || deliveredAtMs !== time || deliveries !== count)) yield claim();
    time = deliveredAtMs;
    count = deliveries;
    ids.push(word(idText(id)));
  }
  if (ids.length > 0) yield claim();
  if (claimed) return;
  yield rules.createsConsumers
    ? [XGROUP, word('CREATECONSUMER'), key, group, consumer.name]
    // Asking for its own pending entries, of which it has none, makes a consumer and changes nothing else.
    : [word('XREADGROUP'), word('GROUP'), group, consumer.name, word('COUNT'), word(1), word('STREAMS'), key, ZERO];
}
