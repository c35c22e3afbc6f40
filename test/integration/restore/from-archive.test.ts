import { afterAll, beforeAll, expect, it } from 'vitest';
import { createArchive, openArchive } from '../../../server/engine/archive/archive.js';
import { openFilesystemStore } from '../../../server/engine/store/filesystem.js';
import { type Store } from '../../../server/engine/store/store.js';
import { archiveSource } from '../../../server/engine/target/archive-source.js';
import { digest } from '../../kit/digest.js';
import { fillBytes } from '../../kit/fill.js';
import { makeTempDir, removeTempDir } from '../../kit/processes.js';
import { startRedis, type RedisServer } from '../../kit/redis.js';
import { seedAllTypes } from '../../kit/seed.js';
import { restoreInto, takeRdb } from './harness.js';

const BACKUP_ID = 'bak_01hzy0000000000000000000r1';
const root = makeTempDir('restore-store');
let store: Store;
const servers: RedisServer[] = [];

beforeAll(async () => {
  store = await openFilesystemStore({ root, create: true });
});
afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop()));
  await removeTempDir(root);
});

it('restores what an archive in a store holds, block by block', async () => {
  const [source, target] = await Promise.all([startRedis(), startRedis({ config: { 'repl-diskless-load': 'swapdb' } })]);
  servers.push(source, target);
  await seedAllTypes(source, { keysPerType: 5 });
  await fillBytes(source, { mib: 4 });
  const rdb = await takeRdb(source);
  const writer = await createArchive(store, { backupId: BACKUP_ID });
  await writer.write(rdb.bytes);
  await writer.seal({
    backup: { projectId: 'prj_01hzy0000000000000000000p1', name: 'one', trigger: 'MANUAL' },
    source: { instanceId: 'ins_01hzy0000000000000000000n1', instanceName: 'orders', engine: source.engine, version: source.version, runId: '0'.repeat(40), address: null, node: null },
    capture: { method: 'REPLICATION', consistency: 'POINT_IN_TIME' }, coverage: { kind: 'INSTANCE' }, replication: null, rdb: rdb.facts.summary,
    startedAt: new Date(), completedAt: new Date(), createdBy: { software: 'snapback', version: '0.1.0' },
  });
  const reader = await openArchive(store, BACKUP_ID);
  try {
    const { report, failure, phases } = await restoreInto(target, archiveSource(reader));
    expect(failure).toBeUndefined();
    expect(report).toMatchObject({ dataNow: 'NEW', bytesSent: rdb.facts.summary.bytes, bgsaveSuggested: true });
    expect(phases).toEqual(['PREPARING', 'VERIFYING', 'PREPARING', 'TRANSFERRING', 'LOADING', 'FINALIZING']);
    expect(await digest(target)).toBe(await digest(source));
  } finally {
    await reader.close();
  }
});
