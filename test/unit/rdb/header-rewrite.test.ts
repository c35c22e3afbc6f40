import { describe, expect, it } from 'vitest';
import { type Engine } from '../../../server/domain/backup.js';
import { wholeVerdict } from '../../../server/engine/rdb/header-rewrite.js';
import { type RdbMagic, type RdbSummary } from '../../../server/engine/rdb/summary.js';
import { type LoadFacts } from '../../../server/engine/rdb/versions.js';
import { HeaderPatch } from '../../../server/engine/target/header-patch.js';
import { CHUNK_SIZES, read, SAMPLES } from './samples.js';

type Server = { engine: Engine; version: string };
const redis = (version: string): Server => ({ engine: 'REDIS', version });
const valkey = (version: string): Server => ({ engine: 'VALKEY', version });

/** Types and opcodes that all servers from 7.2 on know. */
const COMMON = { rdbTypes: [0, 1, 2, 4, 5, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21], opcodes: [245, 247, 248, 249, 250, 251, 252, 253, 254] };
const of = (writer: Server, magic: RdbMagic, version: number, change: Partial<LoadFacts> = {}): LoadFacts => ({
  magic, version, ...COMMON, modules: [], functionApi: 'REDIS', unknown: null,
  aux: writer.engine === 'REDIS' ? { 'redis-ver': writer.version } : { 'redis-ver': '7.2.4', 'valkey-ver': writer.version }, ...change,
});
const redis8 = (change?: Partial<LoadFacts>): LoadFacts => of(redis('8.0.2'), 'REDIS', 12, change);
const valkey8 = (change?: Partial<LoadFacts>): LoadFacts => of(valkey('8.1.1'), 'REDIS', 11, change);
const valkey9 = (change?: Partial<LoadFacts>): LoadFacts => of(valkey('9.1.2'), 'VALKEY', 80, change);
const into = (facts: LoadFacts, target: Server): string => {
  const verdict = wholeVerdict(facts, target);
  return verdict.ok ? (verdict.header === null ? 'as it is' : `${verdict.header.magic} ${String(verdict.header.version)}`) : verdict.reason;
};

describe('a whole file goes under the last header that both families share', () => {
  it.each([
    [redis8(), redis('7.2.5')], [redis8(), valkey('7.2.9')], [redis8(), valkey('8.1.1')], [redis8(), valkey('9.1.2')],
    [valkey9(), redis('7.2.5')], [valkey9(), redis('7.4.1')], [valkey9(), redis('8.0.2')], [valkey9(), valkey('7.2.9')], [valkey9(), valkey('8.1.1')],
  ])('%o into %o', (facts, target) => {
    expect(into(facts, target)).toBe('REDIS 11');
  });

  it('only where its own is refused', () => {
    for (const [facts, target] of [[redis8(), redis('8.0.2')], [redis8(), redis('7.4.0')], [valkey9(), valkey('9.0.0')], [valkey8(), redis('8.0.2')], [of(redis('7.0.15'), 'REDIS', 10), valkey('9.1.2')]] as const) {
      expect(into(facts, target)).toBe('as it is');
    }
  });

  it.each<[string, LoadFacts, Server]>([
    ['servers before 7.2 are given no newer file', redis8(), redis('7.0.15')],
    ['servers before 7.2 are given no newer file', of(redis('7.2.5'), 'REDIS', 11, { rdbTypes: [0] }), redis('6.2.14')],
    ['that was never tried with this format', of(redis('8.6.0'), 'REDIS', 13, { rdbTypes: [0] }), redis('7.4.0')],
    ['that was never tried with this format', of(valkey('9.2.0'), 'VALKEY', 81, { rdbTypes: [0] }), valkey('8.1.1')],
    ['it holds hashes whose fields expire', redis8({ rdbTypes: [0, 24] }), valkey('9.1.2')],
    ['it holds hashes whose fields expire', redis8({ rdbTypes: [22, 23, 25] }), redis('7.2.5')],
    ['it holds hashes whose fields expire', valkey9({ rdbTypes: [22] }), redis('8.0.2')],
    ['it holds what code 31 stands for', redis8({ rdbTypes: [31] }), valkey('8.1.1')],
    ['it holds notes on slots', redis8({ opcodes: [244, 254] }), redis('7.2.5')],
    ['it holds notes on slots', redis8({ opcodes: [244, 254] }), valkey('8.1.1')],
    ['it holds notes that only its own engine knows', valkey9({ opcodes: [243, 254] }), valkey('8.1.1')],
    ['it holds data of modules (vectorset)', redis8({ rdbTypes: [7], modules: ['vectorset'] }), valkey('9.1.2')],
    ['what follows byte 90 is not known here', redis8({ unknown: { kind: 'TYPE', code: 27, offset: 90n } }), valkey('9.1.2')],
    ['it holds functions that may use what the target has not got', valkey9({ functionApi: 'SERVER' }), redis('8.0.2')],
    ['it holds functions that may use what the target has not got', valkey9({ functionApi: undefined }), valkey('8.1.1')],
  ])('not where %s', (why, facts, target) => {
    const verdict = wholeVerdict(facts, target);
    expect(verdict).toMatchObject({ ok: false, reason: expect.stringMatching(/^\S[^]*[.]$/) });
    expect(into(facts, target)).toContain(`Another header would not help: ${why}.`);
  });

  it('slots and their like where the target knows them', () => {
    expect(into(redis8({ opcodes: [244, 254] }), valkey('9.1.2'))).toBe('REDIS 11');
    expect(into(valkey9({ functionApi: 'SERVER' }), valkey('8.1.1'))).toBe('REDIS 11');
  });
});

describe('functions decide, too, who loads a file as it is', () => {
  it('those that may call their server `server` need Valkey 8.0, unless a server without it had loaded them', () => {
    expect(into(valkey8({ functionApi: 'SERVER' }), redis('8.0.2'))).toMatch(/^No version of Redis loads RDB 11 \(REDIS\) with these types and functions/);
    expect(into(valkey8({ functionApi: 'SERVER' }), valkey('7.2.9'))).toMatch(/needs Valkey 8.0 or newer/);
    expect(into(valkey8({ functionApi: 'SERVER' }), valkey('8.0.1'))).toBe('as it is');
    expect(into(valkey8({ functionApi: undefined }), redis('8.0.2'))).toMatch(/content that is not known here/);
    expect(into(valkey8({ functionApi: undefined, opcodes: [254] }), redis('8.0.2'))).toBe('as it is');
    for (const writer of [redis('7.2.5'), valkey('7.2.9')]) expect(into(of(writer, 'REDIS', 11, { functionApi: 'SERVER' }), redis('7.2.5'))).toBe('as it is');
  });

  it('those of other engines nobody can judge, not even for the version they come from', () => {
    expect(into(valkey9({ functionApi: 'OTHER' }), valkey('9.1.2'))).toMatch(/another engine than Lua/);
    expect(into(valkey8({ functionApi: 'OTHER' }), redis('8.0.2'))).toMatch(/content that is not known here/);
  });
});

describe('a header that is put on a file as it passes', () => {
  const patched = (file: Buffer, size: number, last: number): Buffer => {
    const patch = new HeaderPatch({ magic: 'REDIS', version: 11 });
    const out: Uint8Array[] = [];
    const end = file.length - last;
    for (let at = 0; at < end; at += size) out.push(Buffer.from(patch.pass(file.subarray(at, Math.min(end, at + size)))));
    out.push(patch.end(file.subarray(end)));
    return Buffer.concat(out);
  };

  it.each(['RDB 80 of Valkey 9', 'RDB 9 of Redis 6.2', 'no checksum', 'no keys'])('leaves all else as it is, in pieces of any size: %s', (name) => {
    const file = SAMPLES[name]?.() ?? Buffer.alloc(0);
    const before = Buffer.from(file);
    const whole = patched(file, file.length, 8);
    expect([whole.length, whole.subarray(0, 9).toString('latin1')]).toEqual([file.length, 'REDIS0011']);
    expect(whole.subarray(9, -8).equals(file.subarray(9, -8))).toBe(true);
    for (const size of CHUNK_SIZES) for (const last of [8, 16]) expect(patched(file, size, last).equals(whole)).toBe(true);
    expect(file.equals(before)).toBe(true);
  });

  it('and ends in the checksum of what it now is', () => {
    const file = SAMPLES['RDB 9 of Redis 6.2']?.() ?? Buffer.alloc(0);
    const { version, checksum, ...rest }: RdbSummary = read(patched(file, 7, 16));
    expect([version, checksum]).toEqual([11, 'VALID']);
    expect(rest).toEqual({ ...read(file), version: undefined, checksum: undefined });
    expect(read(patched(SAMPLES['no checksum']?.() ?? Buffer.alloc(0), 5, 9))).toMatchObject({ checksum: 'VALID', integrity: 'STRUCTURE_AND_CHECKSUM' });
  });
});
