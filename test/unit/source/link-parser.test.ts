import { describe, expect, test } from 'vitest';
import { type Framing, LinkParser } from '../../../server/engine/source/link-parser.js';

interface Heard {
  lines: string[];
  keepAlives: number;
  headers: [Framing, bigint | null][];
  payload: Buffer;
  ends: number;
  trailing: bigint;
}

const MARK = '0123456789abcdef0123456789abcdef01234567';

const hear = (bytes: Buffer, cut: number): Heard => {
  const pieces: Buffer[] = [];
  const heard: Heard = { lines: [], keepAlives: 0, headers: [], payload: Buffer.alloc(0), ends: 0, trailing: 0n };
  const parser = new LinkParser('source:6379', {
    keepAlive: () => { heard.keepAlives += 1; },
    line: (line) => {
      heard.lines.push(line);
      parser.payloadExpected = line.startsWith('+FULLRESYNC');
    },
    header: (framing, length) => heard.headers.push([framing, length]),
    payload: (piece) => pieces.push(Buffer.from(piece)),
    end: () => { heard.ends += 1; },
  });
  for (let at = 0; at < bytes.length; at += cut) parser.push(Buffer.from(bytes.subarray(at, at + cut)));
  heard.payload = Buffer.concat(pieces);
  heard.trailing = parser.trailingBytes;
  expect(parser.payloadBytes).toBe(BigInt(heard.payload.length));
  return heard;
};

const CUTS = [1, 2, 7, 39, 40, 41, 4096, 1_000_000];
const payload = Buffer.from(Array.from({ length: 5_000 }, (_, i) => (i * 7) % 256));

describe.each(CUTS)('bytes cut every %d', (cut) => {
  test('newlines, reply, newlines, length, payload, and the command stream behind it', () => {
    const bytes = Buffer.concat([Buffer.from(`\n\n+FULLRESYNC x 1\r\n\n$${payload.length}\r\n`), payload, Buffer.from('*1\r\n$4\r\nPING\r\n')]);
    expect(hear(bytes, cut)).toEqual({ lines: ['+FULLRESYNC x 1'], keepAlives: 3, headers: [['LENGTH', 5_000n]], payload, ends: 1, trailing: 14n });
  });

  test('a mark, wherever it is cut', () => {
    const bytes = Buffer.concat([Buffer.from(`+FULLRESYNC x 1\r\n$EOF:${MARK}\r\n`), payload, Buffer.from(MARK)]);
    expect(hear(bytes, cut)).toEqual({ lines: ['+FULLRESYNC x 1'], keepAlives: 0, headers: [['EOF_MARK', null]], payload, ends: 1, trailing: 0n });
  });

  test('beginnings of the mark inside the payload, and one right before it, are payload', () => {
    const tricky = Buffer.concat([payload, Buffer.from(MARK.slice(0, 39)), Buffer.from('x'), Buffer.from(MARK.slice(0, 20)), Buffer.from(MARK.slice(0, 39))]);
    const heard = hear(Buffer.concat([Buffer.from(`+FULLRESYNC x 1\r\n$EOF:${MARK}\r\n`), tricky, Buffer.from(MARK)]), cut);
    expect([heard.payload.equals(tricky), heard.ends]).toEqual([true, 1]);
  });

  test('a mark that is cut short is no end', () => {
    const heard = hear(Buffer.concat([Buffer.from(`+FULLRESYNC x 1\r\n$EOF:${MARK}\r\n`), payload, Buffer.from(MARK.slice(0, 39))]), cut);
    expect(heard.ends).toBe(0);
  });

  test('an empty payload of length 0 ends at once', () => {
    expect(hear(Buffer.from('+FULLRESYNC x 1\r\n$0\r\n'), cut)).toMatchObject({ ends: 1, payload: Buffer.alloc(0) });
  });

  test.each(['$-1', '$', '$1x', '$ 5', '$EOF:short', `$EOF:${MARK}0`, '$99999999999999999999'])('%s is no header', (header) => {
    expect(() => hear(Buffer.from(`+FULLRESYNC x 1\r\n${header}\r\n`), cut)).toThrowError(expect.objectContaining({ code: 'PROTOCOL_ERROR' }));
  });

  test('a payload that nobody asked for is refused', () => {
    expect(() => hear(Buffer.from('$5\r\nhello'), cut)).toThrowError(expect.objectContaining({ code: 'PROTOCOL_ERROR' }));
  });
});

test('a line without an end is refused before it fills memory', () => {
  expect(() => hear(Buffer.alloc(9_000, 'x'), 100)).toThrowError(expect.objectContaining({ code: 'PROTOCOL_ERROR' }));
});
