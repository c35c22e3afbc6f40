import { describe, expect, it } from 'vitest';
import { type Engine } from '../../../server/domain/backup.js';
import { type RdbMagic } from '../../../server/engine/rdb/summary.js';
import { lossesFor, type LossFacts, type LossName } from '../../../server/engine/rdb/losses.js';
import { transferOf } from '../../../server/engine/rdb/transfer.js';

type Server = { engine: Engine; version: string };
const redis = (version: string): Server => ({ engine: 'REDIS', version });
const valkey = (version: string): Server => ({ engine: 'VALKEY', version });

/** Of all types: how each gets into a server. P payload, C commands, - not at all. */
const ways = (magic: RdbMagic, target: Server): string =>
  Array.from({ length: 28 }, (_, type) => ({ PAYLOAD: 'P', COMMANDS: 'C', LOSS: '-' })[transferOf(type, magic, target).by]).join('');

describe('how a value gets into a server', () => {
  //                     0    5    10   15   20   25
  it.each([
    [redis('8.0.2'), 'REDIS', 'PPPPPP---PPPPPPPPPPPPPPPPP--'],
    [redis('7.4.0'), 'REDIS', 'PPPPPP---PPPPPPPPPPPPPPPPP--'],
    [redis('7.2.5'), 'REDIS', 'PPPPPP---PPPPPPPPPPPPPCCCC--'],
    [redis('7.0.15'), 'REDIS', 'PPPPPP---PPPPPPPPPPPCCCCCC--'],
    [redis('6.0.16'), 'REDIS', 'PPPPPP---PPPPPPPCCCCCCCCCC--'],
    [redis('4.0.14'), 'REDIS', 'PPPPPP---PPPPPP-CCC-C-CCCC--'],
    [redis('3.2.13'), 'REDIS', 'PPPPPC---PPPPPP-CCC-C-CCCC--'],
    [redis('2.8.24'), 'REDIS', 'PPPPPC---PPPPPC-CCC-C-CCCC--'],
    [valkey('9.1.2'), 'REDIS', 'PPPPPP---PPPPPPPPPPPPPCCCC--'],
    [valkey('7.2.9'), 'REDIS', 'PPPPPP---PPPPPPPPPPPPPCCCC--'],
    [valkey('9.1.2'), 'VALKEY', 'PPPPPP---PPPPPPPPPPPPPP-----'],
    [valkey('8.1.1'), 'VALKEY', 'PPPPPP---PPPPPPPPPPPPPC-----'],
    [redis('8.0.2'), 'VALKEY', 'PPPPPP---PPPPPPPPPPPPPC-----'],
    [redis('6.0.16'), 'VALKEY', 'PPPPPP---PPPPPPPCCCCCCC-----'],
  ] as const)('%o from a file that begins with %s', (target, magic, expected) => {
    expect(ways(magic, target)).toBe(expected);
  });

  it('with the version that the target writes', () => {
    for (const [target, version] of [[redis('2.8.24'), 6], [redis('3.2.0'), 7], [redis('6.2.1'), 9], [redis('8.0.2'), 12], [valkey('8.1.1'), 11], [valkey('9.1.2'), 80]] as const) {
      expect(transferOf(0, 'VALKEY', target)).toEqual({ by: 'PAYLOAD', version });
      expect(transferOf(0, 'REDIS', target)).toEqual({ by: 'PAYLOAD', version });
    }
  });

  it('and says why it does not', () => {
    expect(transferOf(21, 'REDIS', redis('4.0.14'))).toEqual({ by: 'LOSS', loss: 'STREAMS' });
    expect(transferOf(7, 'REDIS', redis('8.0.2'))).toEqual({ by: 'LOSS', loss: 'MODULES' });
    expect(transferOf(23, 'VALKEY', valkey('9.1.2'))).toEqual({ by: 'LOSS', loss: 'UNKNOWN_CONTENT' });
    expect(transferOf(99, 'REDIS', redis('8.0.2'))).toEqual({ by: 'LOSS', loss: 'UNKNOWN_CONTENT' });
  });

  it('module data only where its module is known to be', () => {
    const into = (target: Server & { modules?: string[] }, module?: string, source: Server = redis('7.4.1')): string => transferOf(7, 'REDIS', target, { module, source }).by;
    expect(into({ ...redis('7.2.5'), modules: ['ReJSON'] }, 'ReJSON-RL')).toBe('PAYLOAD');
    expect(into({ ...redis('7.2.5'), modules: ['bf'] }, 'ReJSON-RL')).toBe('LOSS');
    expect(into(redis('7.2.5'), 'ReJSON-RL')).toBe('LOSS');
    expect(into({ ...redis('7.2.5'), modules: ['ReJSON'] })).toBe('LOSS');
    // Those that come with Redis 8 change their encodings between patch releases.
    expect(into({ ...redis('8.0.2'), modules: ['vectorset'] }, 'vectorset', redis('8.0.6'))).toBe('LOSS');
    expect(into({ ...redis('8.0.6'), modules: ['vectorset'] }, 'vectorset', redis('8.0.2'))).toBe('PAYLOAD');
    expect(transferOf(7, 'REDIS', { ...redis('8.0.6'), modules: ['vectorset'] }, { module: 'vectorset' }).by).toBe('LOSS');
  });
});

describe('what is left behind', () => {
  const facts = (change: Partial<LossFacts> = {}): LossFacts =>
    ({ magic: 'REDIS', rdbTypes: [0, 4], opcodes: [250, 254], types: [], functions: 0, modules: [], hasHashFieldTtl: false, unknown: null, aux: { 'redis-ver': '8.0.2' }, ...change });
  const names = (change: Partial<LossFacts>, target: Server & { modules?: string[] }): LossName[] => {
    const losses = lossesFor(facts(change), target);
    for (const { what } of losses) expect(what).toMatch(/^\S.*\.$/);
    return losses.map(({ name }) => name);
  };

  it('is nothing of plain types', () => {
    for (const target of [redis('2.8.24'), redis('8.0.2'), valkey('9.1.2')]) expect(names({ rdbTypes: [0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14, 16, 17, 18, 20] }, target)).toEqual([]);
  });

  it('are expiries of fields, functions and streams on servers that have none', () => {
    const all: Partial<LossFacts> = { rdbTypes: [0, 21, 24, 25], opcodes: [245, 254], functions: 2, hasHashFieldTtl: true, types: [{ type: 'STREAM', keys: 7n }] };
    expect(names(all, redis('2.8.24'))).toEqual(['FIELD_TTL', 'FUNCTIONS', 'STREAMS']);
    expect(lossesFor(facts(all), redis('4.0.14')).find(({ name }) => name === 'STREAMS')?.keys).toBe(7n);
    expect(names(all, redis('6.0.16'))).toEqual(['FIELD_TTL', 'FUNCTIONS', 'STREAM_METADATA']);
    expect(names(all, redis('7.0.15'))).toEqual(['FIELD_TTL', 'STREAM_METADATA']);
    expect(names(all, valkey('8.1.1'))).toEqual(['FIELD_TTL']);
    expect(names(all, redis('7.4.0'))).toEqual([]);
    expect(names(all, valkey('9.1.2'))).toEqual([]);
    expect(names({ rdbTypes: [15] }, redis('5.0.14'))).toEqual([]);
  });

  it('says which parts of streams that are made anew', () => {
    const said = (target: Server): string => lossesFor(facts({ rdbTypes: [21] }), target)[0]?.what ?? '';
    expect(said(redis('6.2.0'))).toMatch(/ever added/);
    expect(said(redis('7.0.15'))).not.toMatch(/ever added/);
  });

  it('is data of modules that are not there, and what they keep beside the keys', () => {
    const file: Partial<LossFacts> = { rdbTypes: [7], opcodes: [247], modules: ['ReJSON-RL'], aux: { 'redis-ver': '7.4.1' }, types: [{ type: 'MODULE', keys: 3n }] };
    expect(names(file, { ...redis('7.2.5'), modules: ['ReJSON'] })).toEqual(['MODULE_AUX']);
    expect(names(file, redis('7.2.5'))).toEqual(['MODULES', 'MODULE_AUX']);
    expect(lossesFor(facts(file), redis('7.2.5'))[0]?.keys).toBe(3n);
    expect(names({ opcodes: [243] }, redis('8.6.0'))).toEqual(['KEY_METADATA']);
    expect(names({ opcodes: [243], magic: 'VALKEY' }, valkey('9.1.2'))).toEqual([]);
  });

  it('is everything behind what cannot be read', () => {
    expect(names({ unknown: { kind: 'TYPE', code: 27, offset: 90n } }, redis('8.8.0'))).toEqual(['UNKNOWN_CONTENT']);
  });
});
