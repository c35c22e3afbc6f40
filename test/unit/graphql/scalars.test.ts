import { parseValue } from 'graphql';
import { describe, expect, it } from 'vitest';
import { BigIntScalar, DateTime, parseInstant } from '../../../server/graphql/scalars.js';

describe('DateTime', () => {
  it.each([
    ['2026-03-01T02:00:00Z', '2026-03-01T02:00:00.000Z'], ['2026-03-01T02:00:00.5Z', '2026-03-01T02:00:00.500Z'], ['2026-03-01T02:00:00.123+08:00', '2026-02-28T18:00:00.123Z'],
    ['2024-02-29T23:59:59-00:30', '2024-03-01T00:29:59.000Z'], ['0001-01-01T00:00:00Z', '0001-01-01T00:00:00.000Z'],
  ])('reads %s', (text, instant) => {
    expect(parseInstant(text)?.toISOString()).toBe(instant);
  });

  it.each([
    '2026-02-29T00:00:00Z', '2026-02-30T00:00:00Z', '2026-13-01T00:00:00Z', '2026-00-01T00:00:00Z', '2026-03-01T24:00:00Z', '2026-03-01T23:59:60Z', '2026-03-01T02:00Z',
    '2026-03-01T02:00:00', '2026-03-01', '2026-03-01 02:00:00Z', '2026-03-01T02:00:00.1234Z', '2026-03-01T02:00:00+24:00', '2026-03-01T02:00:00+0800', '', 'now', ' 2026-03-01T02:00:00Z',
  ])('refuses %j', (text) => {
    expect(parseInstant(text)).toBeUndefined();
    expect(() => DateTime.parseValue(text)).toThrow('ISO 8601');
  });

  it.each([[1_772_330_400_000], [null], [{}], [true]])('refuses %j, which is no text', (value) => {
    expect(() => DateTime.parseValue(value)).toThrow('ISO 8601');
  });

  it('reads literals of text only, and writes UTC with milliseconds', () => {
    expect(DateTime.parseLiteral(parseValue('"2026-03-01T02:00:00+01:00"'))).toEqual(new Date('2026-03-01T01:00:00Z'));
    expect(() => DateTime.parseLiteral(parseValue('1772330400'))).toThrow('ISO 8601');
    expect(DateTime.serialize(new Date(0))).toBe('1970-01-01T00:00:00.000Z');
    for (const wrong of [new Date(NaN), '2026-03-01', 0]) expect(() => DateTime.serialize(wrong)).toThrow(TypeError);
  });
});

describe('BigInt', () => {
  it('writes decimal strings', () => {
    expect(BigIntScalar.serialize(18_446_744_073_709_551_615n)).toBe('18446744073709551615');
    expect(BigIntScalar.serialize(-1n)).toBe('-1');
    expect(BigIntScalar.serialize(1e21)).toBe('1000000000000000000000');
    expect(BigIntScalar.serialize(1234.5)).toBe('1235');
    for (const wrong of [NaN, Infinity, '1', null]) expect(() => BigIntScalar.serialize(wrong)).toThrow(TypeError);
  });

  it('reads strings and whole numbers', () => {
    expect(BigIntScalar.parseValue('9007199254740993')).toBe(9_007_199_254_740_993n);
    expect(BigIntScalar.parseValue(-5)).toBe(-5n);
    expect(BigIntScalar.parseLiteral(parseValue('9007199254740993'))).toBe(9_007_199_254_740_993n);
    expect(BigIntScalar.parseLiteral(parseValue('"12"'))).toBe(12n);
    for (const wrong of ['', '1.5', '0x10', '1e3', ' 1', '01', '-', '9'.repeat(40), 1.5, 2 ** 53, true, null, {}]) expect(() => BigIntScalar.parseValue(wrong)).toThrow('whole number');
    for (const wrong of ['1.5', 'true', 'ONE', '[1]']) expect(() => BigIntScalar.parseLiteral(parseValue(wrong))).toThrow('whole number');
  });
});
