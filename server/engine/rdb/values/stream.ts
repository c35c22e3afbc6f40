import { entriesOf, type StreamEntry } from './stream-entries.js';
import { isAfter, type StreamId } from './stream-id.js';
import { type ValueReader } from './value-reader.js';

export { type StreamEntry } from './stream-entries.js';
export { type StreamId } from './stream-id.js';

/** An entry that was delivered to a consumer and not acknowledged. It may be gone from the stream. */
export interface PendingEntry {
  id: StreamId;
  /** Unix milliseconds of the last delivery, as the server keeps them. */
  deliveredAtMs: bigint;
  deliveries: bigint;
}

export interface StreamConsumer {
  name: Buffer;
  /** How many entries are pending for it. */
  count: number;
  /** In the order of their IDs. */
  pending(): Generator<PendingEntry, void>;
}

export interface StreamGroup {
  name: Buffer;
  lastId: StreamId;
  /** How many entries the group has read; null where it is not known (before 7.0, or lost by deletions). */
  entriesRead: bigint | null;
  /** One after another; a consumer is valid until the next one is asked for. */
  consumers(): Generator<StreamConsumer, void>;
}

/** Counters that streams have since 7.0. */
export interface StreamCounters {
  entriesAdded: bigint;
  /** 0-0: none was ever deleted one by one. */
  maxDeletedId: StreamId;
}

const ID_BYTES = 16;
const TIME_BYTES = 8;
const MOST_INT64 = 2n ** 63n - 1n;

/**
 * A stream (stored in layouts 1: Redis 5.0, 2: 7.0, 3: 7.2). Opening it reads over everything but its entries and finds where groups stand; entries
 * and groups can then be read as often as wanted. Source: rdb.c (rdbSaveObject and rdbLoadObject).
 */
export class StreamValue {
  /** Entries that are not deleted. */
  readonly length: number;
  readonly lastId: StreamId;
  /** Null in layout 1. */
  readonly counters: StreamCounters | null;
  private readonly nodes: number;
  private readonly nodesAt: number;
  private readonly groupCount: number;
  private readonly groupsAt: number;

  constructor(private readonly reader: ValueReader, private readonly layout: 1 | 2 | 3) {
    this.nodes = reader.count(2);
    this.nodesAt = reader.pos;
    for (let left = this.nodes * 2; left > 0; left -= 1) reader.skipString();
    this.length = reader.length();
    const lastAt = reader.pos;
    this.lastId = this.idOfLengths();
    this.counters = layout === 1 ? null : this.readCounters();
    if (this.counters !== null && isAfter(this.counters.maxDeletedId, this.lastId)) throw reader.corrupt('a stream has lost an ID beyond its last', lastAt);
    this.groupCount = reader.count(layout === 1 ? 5 : 6);
    this.groupsAt = reader.pos;
  }

  /** Entries in the order of their IDs, deleted ones left out. Fails with CORRUPT, at the end also when there are not `length` of them. */
  *entries(): Generator<StreamEntry, void> {
    const reader = this.at(this.nodesAt);
    let count = 0;
    let last: StreamId = { ms: 0n, seq: 0n };
    for (const entry of entriesOf(reader, this.nodes)) {
      count += 1;
      last = entry.id;
      yield entry;
    }
    if (count !== this.length) throw reader.corrupt(`a stream has ${count} entries and says ${this.length}`);
    if (isAfter(last, this.lastId)) throw reader.corrupt('a stream has an entry beyond its last ID');
  }

  /** Groups in the order they are stored. Fails with CORRUPT, also for what follows the last. */
  *groups(): Generator<StreamGroup, void> {
    const reader = this.at(this.groupsAt);
    for (let left = this.groupCount; left > 0; left -= 1) {
      const name = reader.string();
      const lastId = this.idOfLengths(reader);
      const readAt = reader.pos;
      const read = this.layout === 1 ? -1n : BigInt.asIntN(64, reader.wideLength());
      if (read < -1n) throw reader.corrupt(`a group has read ${read} entries`, readAt);
      const pending = indexPending(reader);
      const consumersAt = reader.pos;
      this.skipConsumers(reader, pending.length);
      const next = reader.pos;
      yield { name, lastId, entriesRead: read < 0n ? null : read, consumers: () => this.consumersAt(consumersAt, pending) };
      reader.pos = next;
    }
    reader.end();
  }

  /** Where the IDs (16 bytes) of all pending entries stand in `bytes`, those of each group in rising order. */
  pendingIds(): { bytes: Buffer; at: number[] } {
    const reader = this.at(this.groupsAt);
    const at: number[] = [];
    for (let left = this.groupCount; left > 0; left -= 1) {
      reader.skipString();
      for (let lengths = this.layout === 1 ? 2 : 3; lengths > 0; lengths -= 1) reader.length();
      const pending = indexPending(reader);
      for (const position of pending) at.push(position);
      this.skipConsumers(reader, pending.length);
    }
    return { bytes: reader.whole, at };
  }

  private *consumersAt(position: number, pending: readonly number[]): Generator<StreamConsumer, void> {
    const reader = this.at(position);
    for (let left = reader.count(this.leastOfConsumer); left > 0; left -= 1) {
      const name = reader.string();
      reader.skip(this.timesOfConsumer);
      const count = reader.count(ID_BYTES);
      const ids = reader.pos;
      const next = ids + count * ID_BYTES;
      yield { name, count, pending: () => this.pendingAt(ids, count, pending) };
      reader.pos = next;
    }
  }

  private *pendingAt(position: number, count: number, pending: readonly number[]): Generator<PendingEntry, void> {
    const entry = this.at(position);
    for (let index = 0; index < count; index += 1) {
      const at = position + index * ID_BYTES;
      const found = find(entry.whole, pending, at);
      if (found === undefined) throw entry.corrupt('an entry is pending for a consumer and not for its group', at);
      entry.pos = found;
      const id = entry.streamId();
      const deliveredAtMs = entry.int64();
      const deliveries = entry.wideLength();
      if (deliveries > MOST_INT64) throw entry.corrupt(`an entry was delivered ${deliveries} times`);
      yield { id, deliveredAtMs, deliveries };
    }
  }

  private skipConsumers(reader: ValueReader, pending: number): void {
    let owned = 0;
    for (let left = reader.count(this.leastOfConsumer); left > 0; left -= 1) {
      reader.skipString();
      reader.skip(this.timesOfConsumer);
      const count = reader.count(ID_BYTES);
      reader.skip(count * ID_BYTES);
      owned += count;
    }
    if (owned !== pending) throw reader.corrupt(`${pending} entries are pending for a group, ${owned} for its consumers`);
  }

  /** When it was last seen, and from layout 3 on when it last had something to do. */
  private get timesOfConsumer(): number {
    return this.layout === 3 ? 2 * TIME_BYTES : TIME_BYTES;
  }

  private get leastOfConsumer(): number {
    return this.timesOfConsumer + 2;
  }

  private readCounters(): StreamCounters {
    this.idOfLengths();
    const maxDeletedId = this.idOfLengths();
    const at = this.reader.pos;
    const entriesAdded = this.reader.wideLength();
    if (entriesAdded > MOST_INT64) throw this.reader.corrupt(`${entriesAdded} entries were added to a stream`, at);
    return { entriesAdded, maxDeletedId };
  }

  private idOfLengths(reader = this.reader): StreamId {
    const ms = reader.wideLength();
    return { ms, seq: reader.wideLength() };
  }

  /** A reader of its own for each walk, so that several can be under way. */
  private at(position: number): ValueReader {
    return this.reader.from(position);
  }
}

/** Where each of a group's pending entries stands: its ID, when it was delivered, and how often. */
const indexPending = (reader: ValueReader): number[] => {
  const positions: number[] = [];
  let last = -1;
  for (let left = reader.count(ID_BYTES + TIME_BYTES + 1); left > 0; left -= 1) {
    const at = reader.pos;
    reader.skip(ID_BYTES + TIME_BYTES);
    reader.length();
    if (last >= 0 && compareIds(reader.whole, last, at) >= 0) throw reader.corrupt('the IDs of pending entries do not rise', at);
    last = at;
    positions.push(at);
  }
  return positions;
};

/** IDs are stored most significant byte first, so that they compare as bytes. */
export const compareIds = (bytes: Buffer, a: number, b: number): number => bytes.compare(bytes, b, b + ID_BYTES, a, a + ID_BYTES);

/** The position among rising `positions` whose ID is the one at `wanted`. */
const find = (bytes: Buffer, positions: readonly number[], wanted: number): number | undefined => {
  let low = 0;
  let high = positions.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const position = positions[middle] as number;
    const order = compareIds(bytes, position, wanted);
    if (order === 0) return position;
    if (order < 0) low = middle + 1;
    else high = middle - 1;
  }
  return undefined;
};
