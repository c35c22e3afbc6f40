import { describe, expect, it } from 'vitest';
import { judgeData, sameCounts, type SeenData } from '../../../server/engine/target/data-now.js';
import { type UndoRecord } from '../../../server/engine/target/undo-record.js';

const RECORD: UndoRecord = {
  format: 1, runId: 'run', listenerHost: '127.0.0.1', listenerPort: 1, replidBefore: 'before', linkReplid: 'link',
  keysBefore: [{ database: 0, keys: '10', expiring: '2' }],
  keysAfter: [{ database: 0, keys: '100', expiring: '5' }, { database: 3, keys: '7', expiring: '7' }],
  appendOnly: false, oneTimeMasterauthSha256: null, committed: true, startedAt: '2026-01-01T00:00:00.000Z',
};
const counts = (...keys: [number, bigint][]): SeenData['keys'] => keys.map(([database, count]) => ({ database, keys: count, expiring: 0n }));
const OLD = counts([0, 10n]);
const NEW = counts([0, 100n], [3, 7n]);
const REPLICA: SeenData = { runId: 'run', role: 'REPLICA', replid: 'before', replid2: '0', keys: OLD };
const MASTER: SeenData = { ...REPLICA, role: 'MASTER', replid: 'fresh', replid2: 'before' };
const uncommitted = { ...RECORD, committed: false };
const same = (keys: SeenData['keys']): SeenData['keys'] => keys;

describe('which data a target holds', () => {
  it.each<[string, UndoRecord, SeenData, string]>([
    ['our id, all keys', RECORD, { ...REPLICA, replid: 'link', keys: NEW }, 'NEW'],
    ['our id, a key less, still a replica', RECORD, { ...REPLICA, replid: 'link', keys: counts([0, 99n], [3, 7n]) }, 'UNKNOWN'],
    ['our id as the second one, keys expired and written since', RECORD, { ...MASTER, replid2: 'link', keys: counts([0, 90n], [5, 1n]) }, 'NEW'],
    ['our id though the content could not be counted', { ...RECORD, keysAfter: null }, { ...REPLICA, replid: 'link', keys: counts([0, 1n]) }, 'NEW'],
    ['never sent whole', uncommitted, { ...REPLICA, keys: same(OLD) }, 'OLD'],
    ['never sent whole, other counts by writes before', uncommitted, { ...REPLICA, keys: counts([0, 11n]) }, 'OLD'],
    ['never sent whole, restarted with its old data', uncommitted, { ...MASTER, runId: 'other', keys: counts([0, 9n]) }, 'OLD'],
    ['never sent whole, restarted empty', uncommitted, { ...MASTER, runId: 'other', keys: [] }, 'UNKNOWN'],
    ['never sent whole, restarted, and as many keys as the backup', uncommitted, { ...MASTER, runId: 'other', keys: NEW }, 'UNKNOWN'],
    ['not loaded, old data there', RECORD, REPLICA, 'OLD'],
    ['load failed after the flush', RECORD, { ...REPLICA, keys: [] }, 'UNKNOWN'],
    ['load failed half way', RECORD, { ...REPLICA, keys: counts([0, 50n]) }, 'UNKNOWN'],
    ['as many keys as the backup, but not by us', RECORD, { ...REPLICA, keys: NEW }, 'UNKNOWN'],
    ['restarted with the new data, some expired', RECORD, { ...MASTER, runId: 'other', keys: counts([0, 96n]) }, 'NEW'],
    ['restarted with the old data, some expired', RECORD, { ...MASTER, runId: 'other', keys: counts([0, 8n]) }, 'OLD'],
    ['restarted with fewer keys than could expire', RECORD, { ...MASTER, runId: 'other', keys: counts([0, 94n], [3, 7n]) }, 'UNKNOWN'],
    ['restarted with keys in another database', RECORD, { ...MASTER, runId: 'other', keys: counts([0, 100n], [4, 1n]) }, 'UNKNOWN'],
    ['restarted empty', RECORD, { ...MASTER, runId: 'other', keys: [] }, 'UNKNOWN'],
    ['restarted, old and new alike', { ...RECORD, keysAfter: RECORD.keysBefore }, { ...MASTER, runId: 'other', keys: OLD }, 'UNKNOWN'],
    ['before 4.0, all keys', RECORD, { ...REPLICA, replid: null, replid2: null, keys: NEW }, 'NEW'],
    ['before 4.0, old keys', RECORD, { ...REPLICA, replid: null, replid2: null, keys: OLD }, 'OLD'],
    ['before 4.0, still a replica and a key less', RECORD, { ...REPLICA, replid: null, replid2: null, keys: counts([0, 99n], [3, 7n]) }, 'UNKNOWN'],
    ['restarted, and the content could not be counted', { ...RECORD, keysAfter: null }, { ...MASTER, runId: 'other', keys: OLD }, 'UNKNOWN'],
  ])('%s', (_name, record, seen, dataNow) => {
    expect(judgeData(record, seen).dataNow).toBe(dataNow);
  });

  it('believes the acknowledgement of a server before 4.0, of the same process and with the right counts only', () => {
    const old: SeenData = { ...REPLICA, replid: null, replid2: null };
    const alike = { ...RECORD, keysAfter: RECORD.keysBefore };
    expect(judgeData(alike, old)).toMatchObject({ dataNow: 'UNKNOWN', loaded: false });
    expect(judgeData(alike, old, true)).toMatchObject({ dataNow: 'NEW', loaded: true });
    expect(judgeData({ ...RECORD, keysAfter: null }, old, true)).toMatchObject({ dataNow: 'NEW', exact: null });
    expect(judgeData(RECORD, { ...old, keys: counts([0, 99n], [3, 7n]) }, true)).toMatchObject({ dataNow: 'UNKNOWN', exact: false, loaded: true });
    expect(judgeData(alike, { ...old, runId: 'other' }, true)).toMatchObject({ dataNow: 'UNKNOWN', loaded: false });
  });

  it('says whether counts are exact and the process the same', () => {
    expect(judgeData(RECORD, { ...REPLICA, replid: 'link', keys: NEW })).toMatchObject({ exact: true, restarted: false });
    expect(judgeData(RECORD, { ...MASTER, runId: 'other' })).toMatchObject({ exact: false, restarted: true });
    expect(judgeData({ ...RECORD, keysAfter: null }, REPLICA).exact).toBeNull();
  });

  it('takes a database without keys for none', () => {
    expect(sameCounts(counts([0, 1n], [2, 0n]), counts([0, 1n]))).toBe(true);
    expect(sameCounts(counts([0, 1n]), counts([0, 1n], [1, 1n]))).toBe(false);
    expect(sameCounts(counts([1, 1n]), counts([0, 1n]))).toBe(false);
  });
});
