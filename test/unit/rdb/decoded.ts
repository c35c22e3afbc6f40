import { decodeValue, type DecodedValue } from '../../../server/engine/rdb/values/decode.js';
import { idText } from '../../../server/engine/rdb/values/stream-id.js';
import { type RdbMagic } from '../../../server/engine/rdb/summary.js';
import { type BuiltStream, type Field, type Scored } from '../../kit/value-builder.js';

/** Everything a value holds, at once. */
export type Whole =
  | { kind: 'STRING'; value: Buffer }
  | { kind: 'LIST' | 'SET'; elements: Buffer[] }
  | { kind: 'SORTED_SET'; members: Scored[] }
  | { kind: 'HASH'; fields: Field[] }
  | { kind: 'STREAM'; stream: WholeStream };

export interface WholeStream {
  entries: { id: string; fields: Buffer[] }[];
  lastId: string;
  counters: { entriesAdded: bigint; maxDeletedId: string } | null;
  groups: {
    name: Buffer; lastId: string; entriesRead: bigint | null;
    consumers: { name: Buffer; pending: { id: string; deliveredAtMs: bigint; deliveries: bigint }[] }[];
  }[];
}

export const wholeOf = (rdbType: number, magic: RdbMagic, value: Uint8Array, offset = 0): Whole => read(decodeValue(rdbType, magic, value, offset));

const read = (decoded: DecodedValue): Whole => {
  switch (decoded.kind) {
    case 'STRING': return decoded;
    case 'LIST':
    case 'SET': return { kind: decoded.kind, elements: collect(() => decoded.elements.next()) };
    case 'SORTED_SET': return { kind: 'SORTED_SET', members: collect(() => { const member = decoded.members.next(); return member === null ? null : [member, decoded.members.score] as const; }) };
    case 'HASH': return { kind: 'HASH', fields: collect(() => { const field = decoded.fields.next(); return field === null ? null : [field, decoded.fields.value, decoded.fields.expiresAtMs] as const; }) };
    case 'STREAM': {
      const { stream } = decoded;
      return {
        kind: 'STREAM',
        stream: {
          entries: [...stream.entries()].map(({ id, fields }) => ({ id: idText(id), fields })), lastId: idText(stream.lastId),
          counters: stream.counters === null ? null : { entriesAdded: stream.counters.entriesAdded, maxDeletedId: idText(stream.counters.maxDeletedId) },
          groups: [...map(stream.groups(), (group) => ({
            name: group.name, lastId: idText(group.lastId), entriesRead: group.entriesRead,
            consumers: [...map(group.consumers(), (consumer) => ({ name: consumer.name, pending: [...consumer.pending()].map((entry) => ({ ...entry, id: idText(entry.id) })) }))],
          }))],
        },
      };
    }
  }
};

const collect = <T>(next: () => T | null): T[] => {
  const all: T[] = [];
  for (let item = next(); item !== null; item = next()) all.push(item);
  return all;
};

function* map<T, U>(items: Iterable<T>, change: (item: T) => U): Generator<U> {
  for (const item of items) yield change(item);
}

/** What a decoder is to find in a stream that the builder made. */
export const expectedStream = (stream: BuiltStream, layout: 1 | 2 | 3): WholeStream => ({
  entries: stream.entries.filter(({ deleted }) => !deleted).map(({ id, fields }) => ({ id: idText(id), fields: [...fields] })),
  lastId: idText(stream.lastId),
  counters: layout === 1 ? null : { entriesAdded: stream.entriesAdded, maxDeletedId: idText(stream.maxDeletedId) },
  groups: stream.groups.map((group) => ({
    name: group.name, lastId: idText(group.lastId), entriesRead: layout === 1 ? null : group.entriesRead,
    consumers: group.consumers.map(({ name, pending }) => ({ name, pending: pending.map((entry) => ({ ...entry, id: idText(entry.id) })) })),
  })),
});
