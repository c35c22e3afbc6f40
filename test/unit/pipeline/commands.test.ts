import { describe, expect, it } from 'vitest';
import { crc64 } from '../../../server/engine/rdb/crc64.js';
import { Batch, BATCH_BYTES, Unit } from '../../../server/engine/target/pipeline/batch.js';
import { commandsIn, keyIn, repliesWithoutAsking, shownKey, withAsking, withoutAsking } from '../../../server/engine/target/pipeline/commands-in.js';
import { ReplyParser, type Reply } from '../../../server/engine/target/pipeline/reply-parser.js';
import { redirectIn, slotOf, slotOwners, tagOf } from '../../../server/engine/target/pipeline/slots.js';
import { ReplyError } from '../../../server/engine/resp.js';
import { int64 } from '../../kit/rdb-builder.js';

const text = (args: readonly Buffer[]): string[] => args.map((arg) => arg.toString('latin1'));

describe('commands in a batch', () => {
  it('are what RESTORE takes, whatever lengths their parts have and wherever they begin', () => {
    const batch = new Batch();
    const wanted: { key: Buffer; value: Buffer; ttl: number }[] = [];
    for (let at = 0; at < 120; at += 1) {
      const one = { key: Buffer.alloc(at, 107), value: Buffer.from(Array.from({ length: (at * 37) % 400 }, (_, i) => (i * at) & 255)), ttl: [0, 9, 10, 2 ** 31, 1_764_400_000_123][at % 5] ?? 0 };
      wanted.push(one);
      batch.unit(Unit.RESTORE, 1);
      batch.raw(Buffer.from('*4\r\n$7\r\nRESTORE\r\n'));
      batch.bulk(Buffer.concat([Buffer.from('xx'), one.key]), 2, 2 + at);
      batch.number(one.ttl);
      batch.payload(4, Buffer.concat([Buffer.from('abc'), one.value, Buffer.from('d')]), 3, 3 + one.value.length, 0x0150);
    }
    wanted.forEach(({ key, value, ttl }, unit) => {
      const [command, ...more] = commandsIn(batch.bytesOf(unit));
      const body = Buffer.concat([Buffer.from([4]), value, Buffer.from([0x50, 0x01])]);
      expect(more).toEqual([]);
      expect(command?.args).toEqual([Buffer.from('RESTORE'), key, Buffer.from(String(ttl)), Buffer.concat([body, int64(crc64(body))])]);
    });
  });

  it('have as much room as there is', () => {
    const batch = new Batch();
    expect([batch.hasRoom(BATCH_BYTES), batch.hasRoom(BATCH_BYTES + 1), new Batch(BATCH_BYTES + 5).hasRoom(BATCH_BYTES + 5)]).toEqual([true, false, true]);
    batch.unit(Unit.RESTORE, 1);
    batch.raw(Buffer.alloc(100));
    expect([batch.hasRoom(BATCH_BYTES - 100), batch.hasRoom(BATCH_BYTES - 99)]).toEqual([true, false]);
  });

  it('get an ASKING each, a group one before all, and lose them again', () => {
    const batch = new Batch();
    const units = [
      [['EXISTS', 'key'], ['RESTORE', 'key', '0', 'x']],
      [['MULTI'], ['UNLINK', 'key'], ['SADD', 'key', 'a'], ['EXEC']],
      [['MULTI'], ['SADD', 'ours', 'a'], ['RENAMENX', 'ours', 'key'], ['UNLINK', 'ours'], ['EXEC']],
    ];
    for (const commands of units) {
      batch.unit(Unit.RESTORE, commands.length);
      for (const command of commands) batch.command(command.map((arg) => Buffer.from(arg)));
    }
    units.forEach((commands, unit) => {
      const bytes = batch.bytesOf(unit);
      const asked = withAsking(bytes);
      const group = commands[0]?.[0] === 'MULTI';
      expect(commandsIn(asked.bytes).map(({ args }) => text(args))).toEqual(group ? [['ASKING'], ...commands] : commands.flatMap((command) => [['ASKING'], command]));
      expect(asked.replies).toBe(group ? commands.length + 1 : commands.length * 2);
      expect(withoutAsking(asked.bytes).equals(bytes)).toBe(true);
      expect([keyIn(bytes).toString(), keyIn(asked.bytes).toString()]).toEqual(['key', 'key']);
    });
    expect([repliesWithoutAsking([1, 2, 3, 4], false), repliesWithoutAsking([1, 2, 3, 4], true)]).toEqual([[2, 4], [2, 3, 4]]);
  });

  it('name keys on one line, bounded, without what a terminal would obey', () => {
    expect(shownKey(Buffer.from('clé 钥匙'))).toBe('clé 钥匙');
    expect(shownKey(Buffer.from('a\r\n\u001b[31m"\\'))).toBe('a\\x0d\\x0a\\x1b[31m\\x22\\x5c');
    expect(shownKey(Buffer.from([0xff, 0x41]))).toBe('\\xffA');
    expect(shownKey(Buffer.alloc(5_000, 97))).toBe(`${'a'.repeat(100)}… (5000 bytes)`);
  });
});

describe.each([1, 2, 7, 100, 100_000])('replies cut every %d bytes', (size) => {
  const stream = Buffer.from('+OK\r\n:1\r\n+OK\r\n-BUSYKEY Target key name already exists.\r\n+QUEUED\r\n$5\r\nab\r\nc\r\n$-1\r\n*4\r\n:-7\r\n+OK\r\n*1\r\n$0\r\n\r\n-ERR x\r\n*-1\r\n*0\r\n+OKAY\r\n+OK\r\n');
  const wanted: Reply[] = ['OK', 1, 'OK', new ReplyError('BUSYKEY Target key name already exists.'), 'QUEUED', Buffer.from('ab\r\nc'), null, [-7, 'OK', [Buffer.alloc(0)], new ReplyError('ERR x')], null, [], 'OKAY', 'OK'];

  const parse = (bytes: Buffer): Reply[] => {
    const replies: Reply[] = [];
    const parser = new ReplyParser((reply) => replies.push(reply));
    for (let at = 0; at < bytes.length; at += size) {
      const chunk = Buffer.from(bytes.subarray(at, at + size));
      parser.push(chunk);
      chunk.fill(0xee);
    }
    return replies;
  };

  it('are whole', () => {
    expect(parse(stream)).toEqual(wanted);
  });

  it.each(['HTTP/1.1 200 OK\r\n', '$5\r\nabcdefg\r\n', ':12a\r\n', '+OK\n', '$99999999999\r\n'])('are refused where they are none: %j', (wrong) => {
    expect(() => parse(Buffer.concat([stream, Buffer.from(wrong)]))).toThrow(expect.objectContaining({ code: 'PROTOCOL_ERROR' }));
  });
});

describe('slots', () => {
  it('are those of the cluster specification', () => {
    expect(slotOf(Buffer.from('123456789'))).toBe(0x31c3 % 16_384);
    const same = (a: string, b: string): boolean => slotOf(Buffer.from(a)) === slotOf(Buffer.from(b));
    expect([same('{user1000}.following', 'user1000'), same('foo{{bar}}zap', '{bar'), same('foo{bar}{zap}', 'bar'), same('foo{}{bar}', '{}')]).toEqual([true, true, true, false]);
    const inside = Buffer.from('..{a}b..');
    expect(slotOf(inside, 2, 6)).toBe(slotOf(Buffer.from('a')));
    expect(slotOf(Buffer.from('{a}b'), 0, 2)).toBe(slotOf(Buffer.from('{a')));
  });

  it('have a tag each', () => {
    for (const slot of [0, 1, 8_191, 16_383]) expect(slotOf(Buffer.from(`snapback:{${tagOf(slot)}}`))).toBe(slot);
  });

  it('have owners, all of them', () => {
    const reply: Reply = [
      [0, 8_191, [Buffer.from('10.0.0.1'), 7_000, Buffer.from('id'), []], [Buffer.from('10.0.0.2'), 7_001]],
      [8_192, 16_383, [Buffer.from(''), 7_002, Buffer.from('id')]],
    ];
    expect(slotOwners(reply, 'asked')).toEqual([{ from: 0, to: 8_191, host: '10.0.0.1', port: 7_000 }, { from: 8_192, to: 16_383, host: 'asked', port: 7_002 }]);
    expect(() => slotOwners(reply.slice(1), 'asked')).toThrow(expect.objectContaining({ code: 'TARGET_BLOCKED' }));
  });

  it('move', () => {
    expect(redirectIn('MOVED 3999 127.0.0.1:6381', 'asked')).toEqual({ kind: 'MOVED', slot: 3_999, host: '127.0.0.1', port: 6_381 });
    expect(redirectIn('ASK 1 ::1:6381', 'asked')).toEqual({ kind: 'ASK', slot: 1, host: '::1', port: 6_381 });
    expect(redirectIn('MOVED 1 :6381', 'asked')?.host).toBe('asked');
    expect(redirectIn('TRYAGAIN Multiple keys', 'asked')).toBeNull();
  });
});
