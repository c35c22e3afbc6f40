import { describe, expect, it } from 'vitest';
import { RequestParser } from '../../../server/engine/target/request-parser.js';

const words = (requests: readonly (readonly Buffer[])[]): string[][] => requests.map((request) => request.map((word) => word.toString('latin1')));
const parse = (text: string, size = text.length): string[][] => {
  const parser = new RequestParser();
  const bytes = Buffer.from(text, 'latin1');
  const found: string[][] = [];
  for (let at = 0; at < bytes.length; at += size) found.push(...words(parser.push(bytes.subarray(at, at + size))));
  return found;
};

const HANDSHAKE = 'PING\r\n\n*2\r\n$4\r\nAUTH\r\n$5\r\na\r\nb \r\n\r\nREPLCONF  capa eof\n*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$2\r\n42\r\n';
const PARSED = [['PING'], ['AUTH', 'a\r\nb '], ['REPLCONF', 'capa', 'eof'], ['PSYNC', '?', '-1'], ['REPLCONF', 'ACK', '42']];

describe('commands of a replica', () => {
  it.each([1, 2, 3, 7, 1_000])('are read the same in pieces of %i bytes', (size) => {
    expect(parse(HANDSHAKE, size)).toEqual(PARSED);
  });

  it('may come by the thousand in one chunk', () => {
    expect(parse(HANDSHAKE.repeat(2_000))).toHaveLength(2_000 * PARSED.length);
  });

  it.each([
    ['an endless line', 'x'.repeat(40_000), 'LIMIT_EXCEEDED'],
    ['a huge argument', '*1\r\n$999999999\r\n', 'LIMIT_EXCEEDED'],
    ['an argument that never ends', `*1\r\n$16384\r\n${'x'.repeat(17_000)}`, 'PROTOCOL_ERROR'],
    ['many arguments', '*33\r\n', 'LIMIT_EXCEEDED'],
    ['many words', 'x '.repeat(100) + '\r\n', 'LIMIT_EXCEEDED'],
    ['a negative count', '*-1\r\n', 'PROTOCOL_ERROR'],
    ['a length that is none', '*1\r\n$x\r\n', 'PROTOCOL_ERROR'],
    ['an array of integers', '*1\r\n:1\r\n', 'PROTOCOL_ERROR'],
    ['a wrong length', '*1\r\n$1\r\nxyz\r\n', 'PROTOCOL_ERROR'],
  ])('are refused: %s', (_name, text, code) => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ code }) as Error);
    expect(() => parse(text, 1)).toThrow(expect.objectContaining({ name: 'DomainError' }) as Error);
  });
});
