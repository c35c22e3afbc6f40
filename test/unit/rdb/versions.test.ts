import { describe, expect, it } from 'vitest';
import { type Engine } from '../../../server/domain/backup.js';
import { canLoad, compareVersions, loadsOn, rdbVersionWrittenBy, writtenBy, type LoadFacts } from '../../../server/engine/rdb/versions.js';
import { read, SAMPLES } from './samples.js';

const facts = (change: Partial<LoadFacts> = {}): LoadFacts => ({
  magic: 'REDIS', version: 11, rdbTypes: [0, 4], opcodes: [254], modules: [], unknown: null, aux: {}, ...change,
});
const on = (change: Partial<LoadFacts>, engine: Engine, version: string, modules?: string[]): string => {
  const verdict = canLoad(facts(change), { engine, version, modules });
  if (!verdict.ok) expect(verdict.reason).toMatch(/\S/);
  return verdict.ok ? 'OK' : verdict.code;
};

it('compares versions by number, with candidates before their release', () => {
  for (const [older, newer] of [['2.8.24', '3.0'], ['7.0.9', '7.0.15'], ['7.2', '7.10'], ['8.0.0-rc1', '8.0.0'], ['7.4.5', '8.0.0-rc1'], ['9', '9.0.1'], ['', '1']] as const) {
    expect(compareVersions(older, newer)).toBeLessThan(0);
    expect(compareVersions(newer, older)).toBeGreaterThan(0);
  }
  expect(compareVersions('7.0', '7.0.0')).toBe(0);
  expect(compareVersions('v7.2.4', '7.2.4')).toBe(0);
});

it('knows which header every server writes', () => {
  for (const [engine, version, rdb] of [
    ['REDIS', '2.8.24', 6], ['REDIS', '3.0.7', 6], ['REDIS', '3.2.13', 7], ['REDIS', '4.0.14', 8], ['REDIS', '5.0.14', 9], ['REDIS', '6.2.14', 9],
    ['REDIS', '7.0.15', 10], ['REDIS', '7.2.5', 11], ['REDIS', '7.4.0', 12], ['REDIS', '8.0.2', 12], ['REDIS', '8.4.0', 12], ['REDIS', '8.6.1', 13],
    ['REDIS', '99.0', 14], ['VALKEY', '7.2.9', 11], ['VALKEY', '8.1.3', 11],
  ] as const) expect(rdbVersionWrittenBy(engine, version)).toEqual({ magic: 'REDIS', version: rdb });
  expect(rdbVersionWrittenBy('VALKEY', '9.1.0')).toEqual({ magic: 'VALKEY', version: 80 });
});

describe('who loads a file', () => {
  /** RDB version -> first Redis and first Valkey that take it: the matrix that was measured on real servers. */
  it.each([
    [6, '2.6', '7.2'], [7, '3.2', '7.2'], [8, '4.0', '7.2'], [9, '5.0', '7.2'], [10, '7.0', '7.2'], [11, '7.2', '7.2'], [12, '7.4', null], [13, '8.6', null],
  ] as const)('RDB %i', (version, redis, valkey) => {
    const file = facts({ version });
    expect(loadsOn(file, { engine: 'REDIS', version: '8.8.0' })).toEqual([
      { engine: 'REDIS', minVersion: redis, maxVersion: null },
      ...(valkey === null ? [] : [{ engine: 'VALKEY', minVersion: valkey, maxVersion: null }]),
    ]);
    expect(on({ version }, 'REDIS', redis)).toBe('OK');
    expect(on({ version }, 'REDIS', '2.4.0')).toBe('VERSION_TOO_OLD');
    expect(on({ version }, 'VALKEY', '9.1.0')).toBe(valkey === null ? 'UNSUPPORTED_FORMAT' : 'OK');
  });

  it('Valkey 9 alone loads its own', () => {
    const file = read(SAMPLES['RDB 80 of Valkey 9']?.() ?? Buffer.alloc(0));
    expect(loadsOn(file, { engine: 'VALKEY', version: '9.1.0' })).toEqual([{ engine: 'VALKEY', minVersion: '9.0', maxVersion: null }]);
    expect(canLoad(file, { engine: 'VALKEY', version: '8.1.3' })).toMatchObject({ ok: false, code: 'VERSION_TOO_OLD' });
    expect(canLoad(file, { engine: 'REDIS', version: '8.0.2' })).toMatchObject({ ok: false, code: 'UNSUPPORTED_FORMAT' });
    expect(canLoad(file, { engine: 'VALKEY', version: '9.0.0' })).toEqual({ ok: true });
  });

  it('always the server that wrote it and its successors, also when the table says otherwise', () => {
    expect(loadsOn(facts({ version: 12 }), { engine: 'REDIS', version: '7.3.242' })).toEqual([{ engine: 'REDIS', minVersion: '7.3.242', maxVersion: null }]);
    expect(on({ version: 12, aux: { 'redis-ver': '7.3.242' } }, 'REDIS', '7.3.242')).toBe('OK');
  });

  it('looks at the types and opcodes, not at the header alone', () => {
    expect(on({ version: 11, rdbTypes: [24] }, 'VALKEY', '9.1.0')).toBe('UNSUPPORTED_FORMAT');
    expect(on({ version: 9, rdbTypes: [16] }, 'REDIS', '6.2.14')).toBe('VERSION_TOO_OLD');
    expect(on({ version: 11, opcodes: [244] }, 'VALKEY', '8.1.1')).toBe('VERSION_TOO_OLD');
    expect(on({ version: 11, opcodes: [244] }, 'REDIS', '7.2.9')).toBe('VERSION_TOO_OLD');
    expect(on({ version: 11, opcodes: [244] }, 'VALKEY', '9.1.2')).toBe('OK');
    expect(loadsOn(facts({ opcodes: [244] }), { engine: 'REDIS', version: '8.0.2' })).toEqual([
      { engine: 'REDIS', minVersion: '7.4', maxVersion: null }, { engine: 'VALKEY', minVersion: '9.1', maxVersion: null },
    ]);
  });

  it('refuses the unknown, unless the target is of the family that wrote it and not older', () => {
    const unknown = { kind: 'TYPE', code: 27, offset: 9n } as const;
    const aux = { 'redis-ver': '8.8.0' };
    for (const change of [{ version: 14, unknown, aux }, { version: 16, aux }, { version: 11, unknown, aux }]) {
      expect(on(change, 'REDIS', '8.6.0')).toMatch(/UNSUPPORTED_FORMAT|VERSION_TOO_OLD/);
      expect(on(change, 'VALKEY', '9.1.0')).toBe('UNSUPPORTED_FORMAT');
      expect(on(change, 'REDIS', '8.8.0')).toBe('OK');
      expect(on(change, 'REDIS', '8.9.1')).toBe('OK');
      expect(on({ ...change, aux: {} }, 'REDIS', '9.0.0')).toBe('UNSUPPORTED_FORMAT');
      expect(canLoad(facts({ ...change, aux: {} }), { engine: 'REDIS', version: '9.0.0' }, { engine: 'REDIS', version: '8.8.0' })).toEqual({ ok: true });
      expect(loadsOn(facts(change), { engine: 'REDIS', version: '8.8.0' })).toEqual([{ engine: 'REDIS', minVersion: '8.8.0', maxVersion: null }]);
    }
  });

  it('wants the modules whose data the file holds', () => {
    expect(on({ modules: ['ReJSON-RL'] }, 'REDIS', '7.2.5', ['search', 'ReJSON'])).toBe('OK');
    expect(on({ modules: ['MBbloomCF'] }, 'REDIS', '7.2.5', ['bf'])).toBe('OK');
    expect(on({ modules: ['my-module'] }, 'REDIS', '7.2.5', ['my-module'])).toBe('OK');
    expect(on({ modules: ['ReJSON-RL', 'MBbloomCF'] }, 'REDIS', '7.2.5', ['ReJSON'])).toBe('UNSUPPORTED_FORMAT');
    expect(on({ modules: ['ReJSON-RL'] }, 'REDIS', '7.2.5', [])).toBe('UNSUPPORTED_FORMAT');
    expect(on({ modules: ['ReJSON-RL'] }, 'REDIS', '7.2.5')).toBe('UNSUPPORTED_FORMAT');
  });

  it('wants a server that is not older for data of modules that come with Redis 8', () => {
    const file = (writer: string | null, modules = ['vectorset']): Partial<LoadFacts> => ({ version: 12, modules, aux: writer === null ? {} : { 'redis-ver': writer } });
    expect(on(file('8.0.6'), 'REDIS', '8.0.2', ['vectorset'])).toBe('VERSION_TOO_OLD');
    expect(on(file('8.0.6'), 'REDIS', '8.0.6', ['vectorset'])).toBe('OK');
    expect(on(file('8.0.2'), 'REDIS', '8.0.6', ['vectorset'])).toBe('OK');
    expect(on(file('8.0.6', ['ReJSON-RL']), 'REDIS', '8.0.2', ['ReJSON'])).toBe('VERSION_TOO_OLD');
    expect(on(file(null), 'REDIS', '8.0.2', ['vectorset'])).toBe('UNSUPPORTED_FORMAT');
    expect(on(file('8.0.6'), 'REDIS', '8.0.6', [])).toBe('UNSUPPORTED_FORMAT');
    // Up to 7.4 modules have versions of their own.
    expect(on(file('7.4.5', ['ReJSON-RL']), 'REDIS', '7.4.2', ['ReJSON'])).toBe('OK');
    expect(on(file('8.0.6', []), 'REDIS', '8.0.2')).toBe('OK');
    expect(loadsOn(facts(file('8.0.6')), { engine: 'REDIS', version: '8.0.6' })).toEqual([{ engine: 'REDIS', minVersion: '8.0.6', maxVersion: null }]);
    expect(loadsOn(facts(file('8.0.6', [])), { engine: 'REDIS', version: '8.0.6' })).toEqual([{ engine: 'REDIS', minVersion: '7.4', maxVersion: null }]);
  });

  it('knows the writer from the notes', () => {
    expect(writtenBy(facts({ aux: { 'redis-ver': '7.2.4', 'valkey-ver': '8.1.0' } }))).toEqual({ engine: 'VALKEY', version: '8.1.0' });
    expect(writtenBy(facts({ aux: { 'redis-ver': '7.2.5' } }))).toEqual({ engine: 'REDIS', version: '7.2.5' });
    expect(writtenBy(facts())).toBeNull();
  });
});
