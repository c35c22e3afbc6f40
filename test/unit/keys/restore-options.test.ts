import { describe, expect, it } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { checkRestoreOptions, compileRename, databaseMapOf, DEFAULT_RESTORE_OPTIONS, mergedDatabases, type RestoreOptions } from '../../../server/domain/restore-options.js';
import { LOSS_NAMES } from '../../../server/engine/rdb/losses.js';

const fieldOf = (options: Partial<RestoreOptions>): readonly string[] | undefined => {
  try {
    checkRestoreOptions({ ...DEFAULT_RESTORE_OPTIONS, ...options }, ['options'], LOSS_NAMES);
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(DomainError);
    expect((error as DomainError).code).toBe('BAD_INPUT');
    return (error as DomainError).field;
  }
};

describe('options of a restore', () => {
  it.each<[string, Partial<RestoreOptions>]>([
    ['the default', {}],
    ['all of them', {
      selection: { patterns: ['a*'], databases: [3, 4] }, databaseMap: [{ from: 3, to: 0 }], keyPrefix: { replace: 'a', by: '' }, ttl: 'SHIFT', onConflict: 'SKIP', acceptedLosses: ['FIELD_TTL'],
    }],
    ['databases that change places', { databaseMap: [{ from: 0, to: 1 }, { from: 1, to: 0 }] }],
    ['emptying the databases that are selected', { selection: { databases: [1] }, flush: 'WRITTEN' }],
  ])('take %s', (_, options) => {
    expect(fieldOf(options)).toBeUndefined();
  });

  it.each<[string, Partial<RestoreOptions>, string[]]>([
    ['an empty list of patterns', { selection: { patterns: [] } }, ['keys', 'patterns']],
    ['a negative database', { databaseMap: [{ from: 0, to: -1 }] }, ['databaseMap', '0', 'to']],
    ['a database that is none', { databaseMap: [{ from: 1.5, to: 1 }] }, ['databaseMap', '0', 'from']],
    ['a database mapped twice', { databaseMap: [{ from: 0, to: 1 }, { from: 0, to: 2 }] }, ['databaseMap', '1', 'from']],
    ['a mapped database that is not selected', { selection: { databases: [1] }, databaseMap: [{ from: 2, to: 0 }] }, ['databaseMap', '0', 'from']],
    ['an empty prefix to replace', { keyPrefix: { replace: '', by: 'x' } }, ['keyPrefix', 'replace']],
    ['an empty prefix to add', { keyPrefix: { replace: null, by: '' } }, ['keyPrefix', 'by']],
    ['a prefix replaced by itself', { keyPrefix: { replace: 'x', by: 'x' } }, ['keyPrefix', 'by']],
    ['a prefix that is too long', { keyPrefix: { replace: null, by: 'ü'.repeat(513) } }, ['keyPrefix', 'by']],
    ['emptying for some names', { selection: { patterns: ['a*'] }, flush: 'WRITTEN' }, ['flushFirst']],
    ['emptying for some types', { selection: { types: ['HASH'] }, flush: 'WRITTEN' }, ['flushFirst']],
    ['emptying everything for some databases', { selection: { databases: [1] }, flush: 'EVERYTHING' }, ['flushFirst']],
    ['an unknown loss', { acceptedLosses: ['FIELD_TTL', 'EVERYTHING'] }, ['acceptedLosses', '1']],
    ['an unknown rule', { ttl: 'FOREVER' as 'KEEP' }, ['ttl']],
    ['an unknown conflict rule', { onConflict: 'MERGE' as 'SKIP' }, ['onConflict']],
  ])('refuse %s', (_, options, path) => {
    expect(fieldOf(options)).toEqual(['options', ...path]);
  });

  it('map databases, and know which ones meet', () => {
    const databaseMap = [{ from: 1, to: 0 }, { from: 2, to: 5 }];
    expect([0, 1, 2, 3].map(databaseMapOf({ databaseMap }))).toEqual([0, 0, 5, 3]);
    expect(mergedDatabases({ databaseMap }, [0, 1, 2])).toEqual({ databases: [0, 1], into: 0 });
    expect(mergedDatabases({ databaseMap }, [1, 2, 3])).toBeNull();
  });

  it.each<[RestoreOptions['keyPrefix'], string, string]>([
    [{ replace: null, by: 'copy:' }, 'user:1', 'copy:user:1'],
    [{ replace: 'user:', by: 'copy:' }, 'user:1', 'copy:1'],
    [{ replace: 'user:', by: '' }, 'user:1', '1'],
    [{ replace: 'user:', by: 'copy:' }, 'use', 'use'],
    [{ replace: 'user:', by: 'copy:' }, 'a user:1', 'a user:1'],
    [{ replace: 'ü', by: 'u' }, 'über', 'uber'],
  ])('rename by %o: %s becomes %s', (keyPrefix, old, expected) => {
    const bytes = Buffer.from(`..${old}..`);
    const renamed = compileRename({ keyPrefix })?.(bytes, 2, bytes.length - 2);
    expect(Buffer.concat([renamed!.prefix, bytes.subarray(renamed!.from, -2)]).toString()).toBe(expected);
  });
});
