import { describe, expect, it } from 'vitest';
import { valueCommands, type ValueCommandsInput } from '../../../server/engine/rdb/commands/value-commands.js';
import { type LossName } from '../../../server/engine/rdb/losses.js';
import { float64, lengthBytes, stringBytes } from '../../kit/rdb-builder.js';
import * as built from '../../kit/value-builder.js';

const NOW = 1_700_000_000_000;
const redis = (version: string): ValueCommandsInput['target'] => ({ engine: 'REDIS', version });
const valkey = (version: string): ValueCommandsInput['target'] => ({ engine: 'VALKEY', version });

let losses: Partial<Record<LossName, number>> = {};
const run = (rdbType: number, value: Uint8Array, target = redis('8.0.2'), more: Partial<ValueCommandsInput> = {}): Buffer[][] => {
  losses = {};
  return [...valueCommands({ rdbType, magic: 'REDIS', key: Buffer.from('k'), value, target, nowMs: NOW, onLoss: (name, count) => { losses[name] = count; }, ...more })].map((command) => [...command]);
};
const said = (commands: Buffer[][]): string[] => commands.map((command) => command.map((part) => (part.length === 0 ? "''" : part.toString('latin1'))).join(' '));
const bytes = (...texts: string[]): Buffer[] => texts.map((text) => Buffer.from(text));
const list = (elements: Buffer[]): Buffer => built.LIST_ENCODINGS[1]!(elements, () => 0);
const hash = (fields: [string, string, number | null][]): Buffer => built.TIMED_HASH_ENCODINGS['VALKEY 22']!(fields.map(([field, value, at]) => [Buffer.from(field), Buffer.from(value), at] as const), () => 0);
const timed = (target: ValueCommandsInput['target'], fields: [string, string, number | null][], more: Partial<ValueCommandsInput> = {}): string[] => said(run(22, hash(fields), target, { magic: 'VALKEY', ...more }));

const pairs = (...texts: string[]): Buffer => Buffer.concat([lengthBytes(texts.length / 2), ...bytes(...texts).map((part) => stringBytes(part))]);

describe('the commands that make a key', () => {
  it('of each type', () => {
    expect(said(run(0, stringBytes('v')))).toEqual(['SET k v']);
    expect(said(run(1, list(bytes('a', '', '1'))))).toEqual(["RPUSH k a '' 1"]);
    expect(said(run(2, list(bytes('a', 'b'))))).toEqual(['SADD k a b']);
    expect(said(run(4, pairs('f', 'v', 'g', 'w')))).toEqual(['HSET k f v g w']);
    expect(said(run(4, pairs('f', 'v', 'g', 'w'), redis('3.2.13')))).toEqual(['HMSET k f v g w']);
    expect(losses).toEqual({});
  });

  it('of a key and an element of any bytes', () => {
    const key = Buffer.from([0, 255, 13, 10]);
    expect(run(0, stringBytes(Buffer.from([255, 0])), redis('8.0.2'), { key })).toEqual([[Buffer.from('SET'), key, Buffer.from([255, 0])]]);
  });

  it('with its expiry behind it, and its removal before it', () => {
    expect(said(run(0, stringBytes('v'), redis('8.0.2'), { replace: true, expiresAtMs: 4_102_444_800_123 }))).toEqual(['UNLINK k', 'SET k v', 'PEXPIREAT k 4102444800123']);
    expect(said(run(1, list(bytes('a')), redis('2.8.24'), { replace: true }))).toEqual(['DEL k', 'RPUSH k a']);
  });

  it('are none where nothing is left, but for its removal', () => {
    expect(said(run(2, lengthBytes(0), redis('8.0.2'), { expiresAtMs: 1, replace: true }))).toEqual(['UNLINK k']);
  });

  it('in batches of 512 elements or 64 KiB', () => {
    const many = run(1, list(Array.from({ length: 1_100 }, (_, at) => Buffer.from(String(at)))));
    expect(many.map(({ length }) => length - 2)).toEqual([512, 512, 76]);
    expect(many.flatMap((command) => command.slice(2)).map(String)).toEqual(Array.from({ length: 1_100 }, (_, at) => String(at)));
    const wide = run(1, list([30_000, 30_000, 30_000, 200_000, 1].map((length) => Buffer.alloc(length, 97))));
    expect(wide.map((command) => command.slice(2).map(({ length }) => length))).toEqual([[30_000, 30_000], [30_000], [200_000], [1]]);
    const scored = run(5, Buffer.concat([lengthBytes(600), ...Array.from({ length: 600 }, (_, at) => Buffer.concat([stringBytes(`m${at}`), float64(at)]))]));
    expect(scored.map(({ length }) => length - 2)).toEqual([1_024, 176]);
  });

  it('one by one, before the value has been read to its end', () => {
    const value = Buffer.concat([lengthBytes(1_000), ...Array.from({ length: 600 }, () => stringBytes('a')), Buffer.alloc(400, 0xff)]);
    const commands = valueCommands({ rdbType: 1, magic: 'REDIS', key: Buffer.from('k'), value, target: redis('8.0.2'), nowMs: NOW, offset: 5_000 });
    expect(commands.next().value).toHaveLength(514);
    expect(() => commands.next()).toThrow(expect.objectContaining({ code: 'CORRUPT', details: { offset: 5_000 + 3 + 1_200 - 1 } }));
  });
});

describe('scores', () => {
  it('are the shortest text that means exactly the same', () => {
    const scores = [0, -0, 0.1, 1 / 3, 1e21, 1e22 + 2 ** 21, -1e-7, 5e-324, 1.7976931348623157e308, Infinity, -Infinity, 2 ** 53 + 2];
    const [command] = run(5, built.SORTED_SET_ENCODINGS[5]!(scores.map((score, at) => [Buffer.from(`m${at}`), score]), () => 0));
    const texts = (command ?? []).slice(2).filter((_, at) => at % 2 === 0).map(String);
    expect(texts.slice(0, 3)).toEqual(['0', '-0', '0.1']);
    expect(texts.slice(-3)).toEqual(['inf', '-inf', '9007199254740994']);
    for (const [at, text] of texts.entries()) if (Number.isFinite(scores[at])) expect(Object.is(Number(text), scores[at])).toBe(true);
  });

  it('that are no numbers are left out and counted', () => {
    expect(said(run(5, built.SORTED_SET_ENCODINGS[5]!([[Buffer.from('a'), 1], [Buffer.from('b'), NaN], [Buffer.from('c'), NaN]], () => 0)))).toEqual(['ZADD k 1 a']);
    expect(losses).toEqual({ NAN_SCORES: 2 });
  });
});

describe('fields that expire', () => {
  const fields: [string, string, number | null][] = [['a', '1', NOW + 1_000], ['b', '2', null], ['c', '3', NOW + 2_000], ['d', '4', NOW + 1_000], ['gone', '5', NOW]];

  it('get their expiry where the target has it, one command per instant', () => {
    for (const target of [redis('7.4.0'), valkey('9.0.0')]) {
      expect(timed(target, fields)).toEqual(['HSET k a 1 b 2 c 3 d 4', `HPEXPIREAT k ${NOW + 1_000} FIELDS 2 a d`, `HPEXPIREAT k ${NOW + 2_000} FIELDS 1 c`]);
      expect(losses).toEqual({});
    }
  });

  it('stay for good where it has not, and are counted; expired ones are left out', () => {
    for (const target of [redis('7.2.5'), valkey('8.1.1')]) {
      expect(timed(target, fields)).toEqual(['HSET k a 1 b 2 c 3 d 4']);
      expect(losses).toEqual({ FIELD_TTL: 3 });
    }
    expect(timed(redis('7.2.5'), [['gone', '1', NOW - 1]], { expiresAtMs: NOW + 5 })).toEqual([]);
  });

  it('by the rule of the caller', () => {
    expect(timed(redis('8.0.2'), fields, { fieldExpiry: () => null })).toEqual(['HSET k a 1 b 2 c 3 d 4 gone 5']);
    expect(losses).toEqual({});
    expect(timed(redis('8.0.2'), [['a', '1', NOW - 5]], { fieldExpiry: (at) => at + 10 })).toEqual(['HSET k a 1', `HPEXPIREAT k ${NOW + 5} FIELDS 1 a`]);
  });

  it('batch by batch', () => {
    const many = timed(redis('8.0.2'), Array.from({ length: 600 }, (_, at) => [`f${at}`, 'v', at % 2 === 0 ? NOW + 9 : null] as [string, string, number | null]));
    expect(many.map((command) => command.split(' ').slice(0, 4).join(' '))).toEqual(['HSET k f0 v', `HPEXPIREAT k ${NOW + 9} FIELDS`, 'HSET k f512 v', `HPEXPIREAT k ${NOW + 9} FIELDS`]);
    expect(many[1]?.split(' ')[4]).toBe('256');
    expect(many[3]?.split(' ')[4]).toBe('44');
  });
});

describe('streams', () => {
  const id = (ms: number, seq = 0): built.BuiltId => ({ ms: BigInt(ms), seq: BigInt(seq) });
  const pending = (ms: number, deliveredAtMs = 500, deliveries = 1) => ({ id: id(ms), deliveredAtMs: BigInt(deliveredAtMs), deliveries: BigInt(deliveries) });
  const stream: built.BuiltStream = {
    entries: [3, 4, 5].map((ms) => ({ id: id(ms), fields: bytes('f', String(ms)), deleted: ms === 4 })), lastId: id(7), maxDeletedId: id(4), entriesAdded: 6n,
    groups: [{
      name: Buffer.from('g'), lastId: id(5), entriesRead: 5n,
      consumers: [
        { name: Buffer.from('c'), seenMs: 1n, activeMs: 1n, pending: [pending(1), pending(3), pending(4, 500, 2)] },
        { name: Buffer.from('d'), seenMs: 1n, activeMs: 1n, pending: [pending(5, 600)] },
        { name: Buffer.from('idle'), seenMs: 1n, activeMs: 1n, pending: [] },
      ],
    }, { name: Buffer.from('h'), lastId: id(0), entriesRead: null, consumers: [] }],
  };
  const value = built.streamValue(stream, 3);

  it('with counters from 7.0 on, entries that are pending and gone in their places for a while', () => {
    for (const target of [redis('7.0.15'), valkey('7.2.9')]) {
      expect(said(run(21, value, target, { expiresAtMs: 9_000 }))).toEqual([
        'XADD k 1-0 x y', 'XADD k 3-0 f 3', 'XADD k 4-0 x y', 'XADD k 5-0 f 5',
        'XSETID k 7-0 ENTRIESADDED 6 MAXDELETEDID 4-0',
        'XGROUP CREATE k g 5-0 ENTRIESREAD 5',
        'XCLAIM k g c 0 1-0 3-0 TIME 500 RETRYCOUNT 1 FORCE JUSTID', 'XCLAIM k g c 0 4-0 TIME 500 RETRYCOUNT 2 FORCE JUSTID',
        'XCLAIM k g d 0 5-0 TIME 600 RETRYCOUNT 1 FORCE JUSTID', 'XGROUP CREATECONSUMER k g idle',
        'XGROUP CREATE k h 0-0',
        'XDEL k 4-0', 'XTRIM k MAXLEN 2', 'XSETID k 7-0 ENTRIESADDED 6 MAXDELETEDID 4-0',
        'PEXPIREAT k 9000',
      ]);
    }
  });

  it('without counters before, and consumers made by reading before 6.2', () => {
    expect(said(run(21, value, redis('6.2.0'))).filter((command) => /XSETID|CREATE|READ/.test(command))).toEqual(['XSETID k 7-0', 'XGROUP CREATE k g 5-0', 'XGROUP CREATECONSUMER k g idle', 'XGROUP CREATE k h 0-0']);
    expect(said(run(21, value, redis('5.0.14'))).filter((command) => /XSETID|CREATE|READ/.test(command))).toEqual(['XSETID k 7-0', 'XGROUP CREATE k g 5-0', 'XREADGROUP GROUP g idle COUNT 1 STREAMS k 0', 'XGROUP CREATE k h 0-0']);
  });

  it('of an older layout count what is there', () => {
    expect(said(run(15, built.streamValue({ ...stream, groups: [] }, 1), redis('7.0.15')))).toEqual(['XADD k 3-0 f 3', 'XADD k 5-0 f 5', 'XSETID k 7-0 ENTRIESADDED 2']);
  });

  it('without entries', () => {
    const empty: built.BuiltStream = { entries: [], lastId: id(9), maxDeletedId: id(0), entriesAdded: 4n, groups: [] };
    expect(said(run(21, built.streamValue(empty, 3), redis('7.0.15')))).toEqual(['XADD k MAXLEN 0 0-1 x y', 'XSETID k 9-0 ENTRIESADDED 4']);
    const owed = { ...empty, groups: [{ name: Buffer.from('g'), lastId: id(9), entriesRead: 4n, consumers: [{ name: Buffer.from('c'), seenMs: 1n, activeMs: 1n, pending: [pending(2)] }] }] };
    expect(said(run(21, built.streamValue(owed, 3), redis('7.0.15')))).toEqual([
      'XADD k 2-0 x y', 'XSETID k 9-0 ENTRIESADDED 4', 'XGROUP CREATE k g 9-0 ENTRIESREAD 4', 'XCLAIM k g c 0 2-0 TIME 500 RETRYCOUNT 1 FORCE JUSTID', 'XTRIM k MAXLEN 0', 'XSETID k 9-0 ENTRIESADDED 4',
    ]);
  });

  it('whose pending entries lie beyond their last ID lose those', () => {
    const beyond = { ...stream, groups: [{ ...stream.groups[0]!, consumers: [{ name: Buffer.from('c'), seenMs: 1n, activeMs: 1n, pending: [pending(8), pending(9)] }] }] };
    expect(said(run(21, built.streamValue(beyond, 3), redis('7.0.15')))).toEqual(['XADD k 3-0 f 3', 'XADD k 5-0 f 5', 'XSETID k 7-0 ENTRIESADDED 6 MAXDELETEDID 4-0', 'XGROUP CREATE k g 5-0 ENTRIESREAD 5', 'XGROUP CREATECONSUMER k g c']);
    expect(losses).toEqual({ PENDING_ENTRIES: 2 });
  });

  it('are lost before 5.0', () => {
    expect(said(run(21, value, redis('4.0.14'), { expiresAtMs: 9_000 }))).toEqual([]);
    expect(losses).toEqual({ STREAMS: 1 });
  });

  it('claim at most 512 entries at once', () => {
    const long: built.BuiltStream = {
      entries: [], lastId: id(2_000), maxDeletedId: id(0), entriesAdded: 2_000n,
      groups: [{ name: Buffer.from('g'), lastId: id(2_000), entriesRead: null, consumers: [{ name: Buffer.from('c'), seenMs: 1n, activeMs: 1n, pending: Array.from({ length: 1_200 }, (_, at) => pending(at + 1)) }] }],
    };
    const claims = said(run(21, built.streamValue(long, 3), redis('7.0.15'))).filter((command) => command.startsWith('XCLAIM'));
    expect(claims.map((command) => command.split(' ').length - 5 - 6)).toEqual([512, 512, 176]);
  });
});
