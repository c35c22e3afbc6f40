import { describe, expect, it } from 'vitest';
import { chooseLoad } from '../../../server/engine/target/diskless-load.js';
import { estimatedMemory, loadsDiskless, memoryOf } from '../../../server/engine/target/estimate.js';
import { type TargetFacts } from '../../../server/engine/target/facts.js';
import { blockersOf, warningsOf } from '../../../server/engine/target/findings.js';
import { type RdbFacts } from '../../../server/engine/target/source.js';

const TARGET: TargetFacts = {
  engine: 'REDIS', version: '7.0.15', runId: 'r', role: 'MASTER', mode: 'STANDALONE', loading: false, failingOver: false, replid: 'a', offset: 1n,
  keysNow: [{ database: 0, keys: 3n, expiring: 0n }], usedMemory: 1_000_000n, maxMemory: 0n, systemMemory: 1n << 40n, connectedReplicas: 0,
  appendOnly: true, failedWrites: [], savesRdb: true, disklessLoad: 'disabled', maySetDisklessLoad: null, replicaReadOnly: true, servesStaleData: true, databases: 16, minReplicas: 0,
  tlsReplication: false, masterauth: null, modules: null, sentinel: false, mayReplicaOf: true, mayPause: true,
};
const RDB: RdbFacts = {
  sha256: '', source: { engine: 'REDIS', version: '7.0.15' },
  summary: {
    magic: 'REDIS', version: 10, aux: { 'used-mem': '5000000', 'redis-ver': '7.0.15' }, databases: [{ database: 2, keys: 10n, expiring: 0n }], types: [], keys: 10n, expiring: 0n,
    functions: 0, rdbTypes: [0], opcodes: [250, 251, 254], modules: [], hasHashFieldTtl: false, bytes: 1_000n, checksum: 'VALID', integrity: 'STRUCTURE_AND_CHECKSUM', unknown: null,
  },
};
const BOTH = { safetyBackup: true, pauseWrites: true, disklessLoad: false, linkTls: false };
const blocking = (target: Partial<TargetFacts>, summary: Partial<RdbFacts['summary']> = {}, source = RDB.source): string[] =>
  blockersOf({ ...TARGET, ...target }, { ...RDB, source, summary: { ...RDB.summary, ...summary } }, BOTH).map(({ name }) => name);
const warned = (target: Partial<TargetFacts>, options = BOTH): string[] => warningsOf({ ...TARGET, ...target }, RDB, options).map(({ name }) => name);
const toAccept = (target: Partial<TargetFacts>): string[] => warningsOf({ ...TARGET, ...target }, RDB, BOTH).filter(({ mustAccept }) => mustAccept).map(({ name }) => name);

describe('whether a target is set to load while it receives', () => {
  const choose = (target: Partial<TargetFacts>, wanted = true): [string | null, string | null] => {
    const { before, because, facts } = chooseLoad({ ...TARGET, maySetDisklessLoad: true, ...target }, RDB, wanted);
    expect(facts.disklessLoad).toBe(before === null ? (target.disklessLoad === undefined ? TARGET.disklessLoad : target.disklessLoad) : 'swapdb');
    return [before, because];
  };

  it('is what was asked for, where it can be', () => {
    expect(choose({})).toEqual(['disabled', null]);
    expect(choose({ disklessLoad: 'on-empty-db' })).toEqual(['on-empty-db', null]);
    expect(choose({}, false)).toEqual([null, null]);
  });

  it.each<[string, Partial<TargetFacts>]>([
    ['does so already', { disklessLoad: 'swapdb' }],
    ['is empty and does so then', { disklessLoad: 'on-empty-db', keysNow: [] }],
    ['may not be restored into over the link at all', { disklessLoad: 'flush-before-load' }],
  ])('is nothing to speak of where it %s', (_, target) => {
    expect(choose(target)).toEqual([null, null]);
  });

  it.each<[RegExp, Partial<TargetFacts>]>([
    [/may not read/, { disklessLoad: null }],
    [/5\.0\.14 has no such setting/, { version: '5.0.14', maySetDisklessLoad: null }],
    [/may not change/, { maySetDisklessLoad: false }],
    [/may not change/, { maySetDisklessLoad: null }],
    [/old and new data side by side need about 5\.7 MiB, and it has 5\.7 MiB/, { maxMemory: 5_999_999n }],
    [/side by side/, { maxMemory: 0n, systemMemory: 5_999_999n }],
    [/side by side/, { maxMemory: null, systemMemory: 5_999_999n }],
  ])('is refused with a reason: %s', (because, target) => {
    expect(choose(target)).toEqual([null, expect.stringMatching(because)]);
  });

  it('is no matter of memory where one of them alone is too much, or nobody knows', () => {
    expect(choose({ maxMemory: 4_999_999n })).toEqual(['disabled', null]);
    expect(choose({ maxMemory: null, systemMemory: null })).toEqual(['disabled', null]);
  });
});

describe('what stands in the way of a restore', () => {
  it('is nothing on an ordinary master', () => {
    expect(blocking({})).toEqual([]);
    expect(toAccept({})).toEqual([]);
  });

  it.each<[string, Partial<TargetFacts>]>([
    ['TARGET_IS_REPLICA', { role: 'REPLICA' }],
    ['CLUSTER_MODE', { mode: 'CLUSTER' }],
    ['TARGET_IS_SENTINEL', { mode: 'SENTINEL' }],
    ['SENTINEL_IN_CHARGE', { sentinel: true }],
    ['FAILOVER_IN_PROGRESS', { failingOver: true }],
    ['TARGET_LOADING', { loading: true }],
    ['FLUSH_BEFORE_LOAD', { disklessLoad: 'flush-before-load' }],
    ['REPLICA_READ_ONLY_OFF', { replicaReadOnly: false }],
    ['TLS_REPLICATION', { tlsReplication: true }],
    ['TOO_FEW_DATABASES', { databases: 2 }],
    ['DISK_FAILING', { failedWrites: ['rdb_last_bgsave_status'] }],
    ['DISK_FAILING', { failedWrites: ['aof_last_write_status'], disklessLoad: 'swapdb' }],
    ['INSUFFICIENT_MEMORY', { maxMemory: 4_999_999n }],
    ['INSUFFICIENT_MEMORY', { maxMemory: 5_999_999n, disklessLoad: 'swapdb' }],
    ['NO_RIGHT_TO_REPLICAOF', { mayReplicaOf: false }],
  ])('%s', (name, target) => {
    expect(blocking(target)).toEqual([name]);
  });

  it('is no certificate that this service has, and no write that the restore does without', () => {
    expect(blockersOf({ ...TARGET, tlsReplication: true }, RDB, { linkTls: true })).toEqual([]);
    expect(blocking({ failedWrites: ['aof_last_bgrewrite_status'], appendOnly: false })).toEqual([]);
    expect(blocking({ failedWrites: ['rdb_last_bgsave_status'], disklessLoad: 'swapdb' })).toEqual([]);
  });

  it('has a hint and a code for each', () => {
    const all = blockersOf({ ...TARGET, role: 'REPLICA', mode: 'CLUSTER', sentinel: true, disklessLoad: 'flush-before-load', replicaReadOnly: false, databases: 1, maxMemory: 1n, mayReplicaOf: false }, RDB, BOTH);
    expect(all).toHaveLength(8);
    for (const { name, message, hint } of all) {
      expect(name).toMatch(/^[A-Z][A-Z_]+$/);
      expect(message.length).toBeGreaterThan(20);
      expect(hint.length).toBeGreaterThan(10);
    }
  });

  it('is not memory that just suffices', () => {
    expect(blocking({ maxMemory: 5_000_000n })).toEqual([]);
    expect(blocking({ maxMemory: 6_000_000n, disklessLoad: 'swapdb' })).toEqual([]);
    expect(blocking({ maxMemory: 5_000_000n, disklessLoad: 'swapdb', keysNow: [] })).toEqual([]);
  });

  it('is a version or a module that is missing', () => {
    expect(blocking({ version: '6.2.14' })).toEqual(['CANNOT_LOAD']);
    expect(blocking({ engine: 'VALKEY', version: '8.1.0' }, { version: 12, rdbTypes: [0, 24] }, { engine: 'REDIS', version: '8.0.0' })).toEqual(['CANNOT_LOAD']);
    expect(blocking({ engine: 'VALKEY', version: '8.1.0' }, { version: 11 }, { engine: 'REDIS', version: '7.2.0' })).toEqual([]);
    expect(blocking({}, { modules: ['ReJSON-RL'] })).toEqual(['CANNOT_LOAD']);
    expect(blocking({ modules: ['bf'] }, { modules: ['ReJSON-RL'] })).toEqual(['CANNOT_LOAD']);
    expect(blocking({ modules: ['ReJSON'] }, { modules: ['ReJSON-RL'] })).toEqual([]);
    expect(blocking({ version: '2.6.17', replid: null, masterauth: 'NONE' }, { version: 6, opcodes: [] }, null)).toEqual(['VERSION_TOO_OLD']);
  });

  it('is a server before 4.0 where nothing can be proven', () => {
    const old: Partial<TargetFacts> = { version: '3.2.13', replid: null, disklessLoad: 'disabled' };
    const file: Partial<RdbFacts['summary']> = { version: 7, opcodes: [250, 251, 254] };
    const source = { engine: 'REDIS', version: '3.2.0' } as const;
    expect(blocking({ ...old, masterauth: null }, file, source)).toEqual(['NO_LINK_PROOF']);
    expect(blocking({ ...old, masterauth: 'NONE' }, file, source)).toEqual([]);
    expect(blocking({ ...old, masterauth: 'PRESENT' }, file, source)).toEqual([]);
  });
});

describe('what is to be known before a restore', () => {
  it('has to be accepted where a check could not be made', () => {
    expect(toAccept({ sentinel: null })).toEqual(['UNCHECKED_SENTINEL']);
    for (const unread of [{ disklessLoad: null }, { replicaReadOnly: null }, { tlsReplication: null }, { databases: null }]) expect(toAccept(unread)).toEqual(['UNCHECKED_CONFIG']);
    expect(toAccept({ maxMemory: null })).toEqual(['UNCHECKED_MAXMEMORY']);
    expect(toAccept({ systemMemory: 4_000_000n })).toEqual(['MEMORY_ABOVE_SYSTEM']);
  });

  it('is only said where it is what a restore always does', () => {
    expect(warned({})).toEqual(['UNREADABLE_WHILE_LOADING', 'WRITES_NOT_IN_SAFETY_BACKUP']);
    expect(warned({ connectedReplicas: 2 })).toContain('REPLICAS_WILL_RESYNC');
    expect(warned({ servesStaleData: false })).toContain('SERVE_STALE_DATA_OFF');
    expect(warned({ minReplicas: 1 })).toContain('MIN_REPLICAS');
    expect(warned({}, { ...BOTH, safetyBackup: false })).toEqual(['UNREADABLE_WHILE_LOADING', 'NO_SAFETY_BACKUP']);
    expect(warned({ keysNow: [] }, { ...BOTH, safetyBackup: false })).toEqual(['UNREADABLE_WHILE_LOADING']);
  });

  it('is a header that is changed for the target, where all else is known to it', () => {
    const rdb: RdbFacts = { ...RDB, source: { engine: 'REDIS', version: '8.0.2' }, summary: { ...RDB.summary, version: 12 } };
    const target: TargetFacts = { ...TARGET, engine: 'VALKEY', version: '8.1.0' };
    expect(blockersOf(target, rdb, BOTH)).toEqual([]);
    expect(warningsOf(target, rdb, BOTH)).toContainEqual(expect.objectContaining({ name: 'HEADER_REWRITTEN', mustAccept: false, message: expect.stringMatching(/RDB 12 \(REDIS\)[^]*RDB 11/) }));
    expect(warned({})).not.toContain('HEADER_REWRITTEN');
  });

  it('is a dump.rdb left where nothing is kept', () => {
    expect(warned({ appendOnly: false, savesRdb: false })).toContain('DUMP_RDB_LEFT');
    expect(warned({ appendOnly: true, savesRdb: false })).not.toContain('DUMP_RDB_LEFT');
    expect(warned({ appendOnly: false, savesRdb: true })).not.toContain('DUMP_RDB_LEFT');
    expect(warned({ appendOnly: false, savesRdb: false, disklessLoad: 'swapdb' })).not.toContain('DUMP_RDB_LEFT');
  });

  it('says of writes what an undo can bring back', () => {
    const text = (mayPause: boolean | null, pauseWrites: boolean): string =>
      warningsOf({ ...TARGET, mayPause }, RDB, { ...BOTH, pauseWrites }).find(({ name }) => name === 'WRITES_NOT_IN_SAFETY_BACKUP')?.message ?? '';
    expect(text(true, true)).toContain('held back');
    for (const other of [text(false, true), text(null, true), text(true, false)]) expect(other).toContain('unsavedWriteBytes');
  });
});

describe('memory and method', () => {
  it('is what the source used, else a guess above file and keys', () => {
    expect(memoryOf(RDB)).toBe(5_000_000n);
    expect(memoryOf({ ...RDB, summary: { ...RDB.summary, aux: {} } })).toBeGreaterThan(RDB.summary.bytes);
    expect(memoryOf({ ...RDB, summary: { ...RDB.summary, aux: { 'used-mem': '-5' } } })).toBeGreaterThan(0n);
    expect(estimatedMemory({ ...TARGET, disklessLoad: 'swapdb' }, RDB)).toBe(6_000_000n);
  });

  it('is diskless by setting and content', () => {
    expect(loadsDiskless({ ...TARGET, disklessLoad: 'on-empty-db' })).toBe(false);
    expect(loadsDiskless({ ...TARGET, disklessLoad: 'on-empty-db', keysNow: [] })).toBe(true);
    expect(loadsDiskless({ ...TARGET, disklessLoad: 'swapdb' })).toBe(true);
    expect(loadsDiskless({ ...TARGET, disklessLoad: null })).toBe(false);
  });
});
