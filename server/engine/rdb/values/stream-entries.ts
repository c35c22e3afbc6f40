import { Listpack } from './listpack.js';
import { packedString } from './sources.js';
import { isAfter, type StreamId } from './stream-id.js';
import { type ValueReader } from './value-reader.js';

export interface StreamEntry {
  id: StreamId;
  /** Fields and values alternately. */
  fields: Buffer[];
}

const DELETED = 1;
const SAME_FIELDS = 2;
const WORD = (1n << 64n) - 1n;

/**
 * Entries of a stream's nodes, deleted ones left out. A node is a listpack: the master entry (count, deleted, number of fields, those fields, 0), then
 * entries: flags, distance of both halves of the ID from the node's, the number of fields and fields and values, or the values alone where the
 * fields are the master's; last how many elements that was. Source: t_stream.c (streamAppendItem).
 */
export function* entriesOf(reader: ValueReader, nodes: number): Generator<StreamEntry, void> {
  let last: StreamId = { ms: 0n, seq: 0n };
  for (let node = 0; node < nodes; node += 1) {
    const at = reader.pos;
    const name = reader.string();
    if (name.length !== 16) throw reader.corrupt('a stream\'s node has no ID', at);
    const master: StreamId = { ms: name.readBigUInt64BE(0), seq: name.readBigUInt64BE(8) };
    const entries = new NodeReader(packedString(reader, Listpack), (what) => reader.corrupt(what, at));
    for (let entry = entries.next(master); entry !== null; entry = entries.next(master)) {
      if (!isAfter(entry.id, last)) throw reader.corrupt('the IDs of a stream do not rise', at);
      last = entry.id;
      yield entry;
    }
  }
}

class NodeReader {
  private readonly masterFields: Buffer[] = [];

  constructor(private readonly listpack: Listpack, private readonly corrupt: (what: string) => Error) {
    this.number();
    this.number();
    for (let left = this.number(); left > 0n; left -= 1n) this.masterFields.push(this.bytes());
    this.number();
  }

  /** The next entry that is not deleted; null at the node's end. */
  next(master: StreamId): StreamEntry | null {
    while (this.listpack.next()) {
      const flags = this.listpack.integer();
      if (flags === undefined || flags < 0n || flags > 3n) throw this.corrupt('a stream\'s entry has no flags');
      const ms = this.number();
      const seq = this.number();
      const fields = (Number(flags) & SAME_FIELDS) !== 0 ? this.values() : this.pairs();
      this.number();
      if ((Number(flags) & DELETED) !== 0) continue;
      if (fields.length === 0) throw this.corrupt('a stream\'s entry has no fields');
      return { id: { ms: (master.ms + ms) & WORD, seq: (master.seq + seq) & WORD }, fields };
    }
    return null;
  }

  private values(): Buffer[] {
    const fields: Buffer[] = [];
    for (const field of this.masterFields) fields.push(field, this.bytes());
    return fields;
  }

  private pairs(): Buffer[] {
    const fields: Buffer[] = [];
    for (let left = this.number(); left > 0n; left -= 1n) fields.push(this.bytes(), this.bytes());
    return fields;
  }

  private bytes(): Buffer {
    if (!this.listpack.next()) throw this.corrupt('a stream\'s node ends within an entry');
    return this.listpack.bytes();
  }

  private number(): bigint {
    const number = this.listpack.next() ? this.listpack.integer() : undefined;
    if (number === undefined) throw this.corrupt('a stream\'s node lacks a number');
    return number;
  }
}
