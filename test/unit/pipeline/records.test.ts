import { describe, expect, it } from 'vitest';
import { RecordReader, type RecordConsumer } from '../../../server/engine/rdb/record-reader.js';
import { RdbReader } from '../../../server/engine/rdb/reader.js';
import { decodeValue } from '../../../server/engine/rdb/values/decode.js';
import { isSplittable, splitValue } from '../../../server/engine/target/pipeline/split-value.js';
import { lengthBytes, RdbBuilder, stringBytes } from '../../kit/rdb-builder.js';
import { CHUNK_SIZES, SAMPLES } from '../rdb/samples.js';

interface Taken {
  name: string;
  database: number;
  type: number;
  expiresAt: number | null;
  value: string;
}

const takeApart = (file: Buffer, size: number, maxValueBytes = 1e9, wants: (name: string) => boolean = () => true) => {
  const keys: Taken[] = [];
  const functions: string[] = [];
  let open: Omit<Taken, 'value'> | undefined;
  const add = (value: string): void => void keys.push({ ...open!, value });
  const consumer: RecordConsumer = {
    onName: (head, bytes, from, to) => {
      const name = Buffer.from(bytes.subarray(from, to)).toString('latin1');
      open = { name, database: head.database, type: head.rdbType, expiresAt: Number.isNaN(head.expiresAtMs) ? null : head.expiresAtMs };
      return wants(name);
    },
    onValue: (bytes, from, to) => add(Buffer.from(bytes.subarray(from, to)).toString('hex')),
    onLargeValue: (from, to) => add(file.subarray(from, to).toString('hex')),
    onFunction: (bytes, from, to) => functions.push(Buffer.from(bytes.subarray(from, to)).toString('hex')),
    onLargeFunction: (bytes) => functions.push(`large ${String(bytes)}`),
  };
  const reader = new RecordReader(consumer, { maxNameBytes: 1_024, maxValueBytes });
  for (let at = 0; at < file.length; at += size) {
    const chunk = Buffer.from(file.subarray(at, Math.min(file.length, at + size)));
    for (const _ of reader.read(chunk, 3_000));
    chunk.fill(0xee);
  }
  reader.finish();
  return { keys, functions, tally: reader.tally, ended: reader.ended };
};

describe.each(Object.entries(SAMPLES))('%s', (_, make) => {
  const file = make();
  const facts: { name: string; database: number; type: number; expiresAt: number | null; value: string }[] = [];
  const reader = new RdbReader({
    onKey: ({ name, database, rdbType, expiresAtMs, offset, bytes, nameBytes }) => {
      const text = Buffer.from(name).toString('latin1');
      const record = file.subarray(offset, offset + bytes);
      facts.push({ name: text, database, type: rdbType, expiresAt: expiresAtMs, value: String(record.length - 1 - nameBytes) });
    },
  });
  reader.push(file);
  const summary = reader.finish();

  it.each(CHUNK_SIZES)('is taken apart alike in pieces of %d', (size) => {
    const taken = takeApart(file, size);
    expect(taken.keys.map(({ value: _value, ...rest }) => rest)).toEqual(facts.map(({ value: _value, ...rest }) => rest));
    expect(taken.keys).toEqual(takeApart(file, Infinity).keys);
    expect(taken.functions).toHaveLength(summary.functions);
    expect(taken.tally.databaseCounts()).toEqual(summary.databases);
    expect(taken.ended).toBe(summary.unknown === null ? 'EOF' : 'UNKNOWN');
    // Names and values put together again, and what is kept of large ones, say the same.
    expect(takeApart(file, size, 5).keys).toEqual(taken.keys);
  });
});

describe('values', () => {
  const file = new RdbBuilder(11).select(0).string('short', 'abc').value(0, 'n'.repeat(70), stringBytes('long name')).string('skipped', 'x'.repeat(500)).string('', 'no name')
    .raw([0], stringBytes('integer'), [0xc0, 5]).select(2).collection(2, 'set', ['a', 'b']).func('code').build();

  it.each(CHUNK_SIZES)('are those of the keys that are wanted, in pieces of %d', (size) => {
    const { keys, functions } = takeApart(file, size, 1e9, (name) => name !== 'skipped');
    expect(keys.map(({ name, value }) => [name, Buffer.from(value, 'hex')])).toEqual([
      ['short', stringBytes('abc')], ['n'.repeat(70), stringBytes('long name')], ['', stringBytes('no name')], ['integer', Buffer.from([0xc0, 5])],
      ['set', Buffer.concat([lengthBytes(2), stringBytes('a'), stringBytes('b')])],
    ]);
    expect(functions).toEqual([Buffer.concat([Buffer.from([245]), stringBytes('code')]).toString('hex')]);
  });

  it('of a file that ends too early are an error', () => {
    expect(() => takeApart(file.subarray(0, 40), 7)).toThrow(expect.objectContaining({ code: 'TRUNCATED' }));
    expect(() => takeApart(Buffer.from('no RDB at all'), 7)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED_FORMAT' }));
  });
});

describe('a value in pieces', () => {
  const elementsOf = (value: Buffer): string[] => {
    const decoded = decodeValue(2, 'REDIS', value);
    const found: string[] = [];
    if (decoded.kind === 'SET') for (let element = decoded.elements.next(); element !== null; element = decoded.elements.next()) found.push(element.toString('latin1'));
    return found;
  };
  const chunks = async function* (value: Buffer, size: number): AsyncGenerator<Buffer> {
    for (let at = 0; at < value.length; at += size) yield await Promise.resolve(value.subarray(at, at + size));
  };

  it.each([1_000, 70_000, Infinity])('has all of its elements in their order, read %d at a time', async (size) => {
    const elements = Array.from({ length: 30_000 }, (_, at) => (at === 77 ? 'huge'.repeat(200_000) : `element ${String(at)} ${'x'.repeat(at % 50)}`));
    const value = Buffer.concat([lengthBytes(elements.length), ...elements.map((element) => stringBytes(element))]);
    const found: string[] = [];
    let largest = 0;
    for await (const piece of splitValue(2, 'REDIS', chunks(value, size), 0)) {
      largest = Math.max(largest, piece.length);
      found.push(...elementsOf(piece));
    }
    expect(found).toEqual(elements);
    expect(largest).toBeLessThan(1_200_000);
  });

  it('is known to be cut short, or too long', async () => {
    const value = Buffer.concat([lengthBytes(3), stringBytes('a'), stringBytes('b'), stringBytes('c')]);
    const all = async (bytes: Buffer): Promise<void> => {
      for await (const _ of splitValue(2, 'REDIS', chunks(bytes, 2), 0));
    };
    await expect(all(value)).resolves.toBeUndefined();
    await expect(all(value.subarray(0, -1))).rejects.toMatchObject({ code: 'CORRUPT' });
    await expect(all(Buffer.concat([value, Buffer.from([1])]))).rejects.toMatchObject({ code: 'CORRUPT' });
    expect([isSplittable(0, 'REDIS'), isSplittable(19, 'REDIS'), isSplittable(22, 'VALKEY')]).toEqual([false, false, true]);
  });
});
