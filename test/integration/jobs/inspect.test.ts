import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type InspectionRequest } from '../../../server/domain/inspection.js';
import { type Store } from '../../../server/engine/store/store.js';
import { type Runner } from '../../../server/jobs/runner.js';
import { createInspectTask } from '../../../server/jobs/tasks/inspect.task.js';
import { availableChange } from '../../../server/jobs/tasks/take-backup.js';
import { createVault } from '../../../server/security/vault.js';
import { createBackupStarter } from '../../../server/services/backup-start.js';
import { createInspectionService } from '../../../server/services/inspection.service.js';
import { createJobService } from '../../../server/services/job.service.js';
import { type InspectionApi } from '../../../server/services/api.js';
import { type EventFeed, type WorkQueue } from '../../../server/services/ports.js';
import { type JobRecord } from '../../../server/services/records.js';
import { engineGate } from '../../../server/domain/capability.js';
import { waitFor } from '../../kit/wait.js';
import { OTHER_MASTER, rdbOf, RING, scratchStore, writeArchive, type Scratch } from '../../unit/archive/archive-kit.js';
import { instance as instanceRecord } from '../graphql/records.js';
import { clock, gate, newId, startRig, type Rig } from './rig.js';

const { plain, rdb } = rdbOf(1_500_000, 1);
const EVERYTHING = { delimiter: ':', prefixDepth: 1 } satisfies Omit<InspectionRequest, 'filter'>;

describe('an inspection job', () => {
  let rig: Rig;
  let at: Scratch;
  let id: string;
  let inspections: InspectionApi;
  const vault = createVault(RING);
  const queue: WorkQueue = { enqueueJob: () => Promise.resolve(), schedulePolicy: () => Promise.resolve() };
  beforeEach(async () => {
    [rig, at] = await Promise.all([startRig(), scratchStore()]);
    const { projectId } = rig.caller;
    const instance = instanceRecord({ projectId });
    await rig.db.read.instances.insert(instance, null);
    id = newId('backup');
    const manifest = await writeArchive(at.store, plain, { backupId: id, blockSize: 262_144 }, { rdb, backup: { projectId, name: 'nightly', trigger: 'MANUAL' } });
    await rig.db.read.backups.insert({ id, projectId, instanceId: instance.id, jobId: newId('job'), name: 'nightly', trigger: 'MANUAL', engine: 'REDIS', engineVersion: '7.0.15', coverage: { kind: 'INSTANCE' }, createdAt: new Date() });
    await rig.db.read.backups.change(rig.caller, id, ['CREATING'], availableChange(manifest));
    const ids = { make: newId };
    inspections = createInspectionService({ db: rig.db, ids, clock, queue, vault, starter: createBackupStarter(ids, engineGate([])) });
  });
  afterEach(async () => {
    await rig.stop();
    await at.dispose();
  });

  const start = async (patterns?: string[]): Promise<JobRecord> => (await inspections.start(rig.caller, { backupId: id, filter: patterns && { patterns }, ...EVERYTHING })).job;
  const found = async () => (await inspections.latestByBackup(rig.caller, [id]))[0];
  const parts = () => rig.sql<{ job_id: string; name: string }>('SELECT job_id, name FROM inspection_parts ORDER BY job_id, name');
  const runner = (store: Store = at.store, keys = RING): Runner => {
    const task = createInspectTask({ db: rig.db, store, keys, vault, log: rig.log });
    return rig.runner(task, { tasks: { INSPECT: task } });
  };
  const slow = (door: ReturnType<typeof gate>): Store => Object.assign(Object.create(at.store) as Store, {
    async *read(key: string, options: Parameters<Store['read']>[1] = {}): AsyncGenerator<Uint8Array> {
      if ((options.length ?? 2n ** 40n) > 200_000n && key.includes('rdb')) await door.pass(options.signal);
      yield* at.store.read(key, options);
    },
  });

  it('keeps the backup while it is asked for, and what was found before until it has succeeded; of two there is one result', async () => {
    await runner().runJob((await start()).id);
    expect(await found()).toMatchObject({ selected: { keys: Number(rdb.keys) }, filter: null });
    const second = await start(['key:1*']);
    expect(await rig.db.read.leases.isRead(rig.caller, id)).toBe(true);
    expect((await found())?.jobId).not.toBe(second.id);
    await runner().runJob(second.id);
    expect(await found()).toMatchObject({ jobId: second.id, filter: { patterns: ['key:1*'], types: null, databases: null }, listedTruncated: false });
    expect(await rig.db.read.leases.isRead(rig.caller, id)).toBe(false);
    expect(new Set((await parts()).map(({ job_id: jobId }) => jobId))).toEqual(new Set([second.id]));
    expect((await rig.sql<{ count: string }>('SELECT count(*) FROM backup_leases'))[0]?.count).toBe('0');
  });

  it('that fails, or is cancelled before or in the middle, leaves what was found before, and nothing of its own', async () => {
    const first = await start();
    await runner().runJob(first.id);
    const before = await parts();
    const failing = await start();
    await runner(at.store, { current: OTHER_MASTER, all: [OTHER_MASTER] }).runJob(failing.id);
    expect(await rig.job(failing.id)).toMatchObject({ conclusion: 'FAILED', failure: { code: 'KEY_UNAVAILABLE' } });
    const jobs = createJobService({ db: rig.db, feed: {} as EventFeed, clock, queue });
    const waiting = await start(['x']);
    await jobs.cancel(rig.caller, { jobId: waiting.id });
    const door = gate();
    const running = await start(['y']);
    const run = runner(slow(door)).runJob(running.id);
    await door.reached();
    await jobs.cancel(rig.caller, { jobId: running.id });
    await run;
    for (const { id: jobId } of [waiting, running]) expect(await rig.job(jobId)).toMatchObject({ conclusion: 'CANCELLED' });
    expect(await parts()).toEqual(before);
    expect((await found())?.jobId).toBe(first.id);
  });

  it('whose worker is gone is repeated by the next one; what the first one still does changes nothing', async () => {
    const door = gate();
    const job = await start();
    const first = runner(slow(door)).runJob(job.id);
    await door.reached();
    await rig.expire(job.id);
    await rig.db.transaction(async (tx) => tx.runs.takeBack(job.id, (await tx.runs.expired(1))[0]?.fence ?? 0, 0, new Date()));
    await runner().runJob(job.id);
    expect(await found()).toMatchObject({ jobId: job.id, selected: { keys: Number(rdb.keys) } });
    const after = await rig.sql('SELECT name, sealed FROM inspection_parts ORDER BY name');
    door.open();
    await first;
    expect(await rig.sql('SELECT name, sealed FROM inspection_parts ORDER BY name')).toEqual(after);
    await waitFor(async () => (await rig.sql('SELECT 1 FROM backup_leases')).length === 0);
    expect(await rig.job(job.id)).toMatchObject({ conclusion: 'SUCCEEDED', attempt: 2 });
  });

  it('gives a page of what took its place, when that happens between two questions', async () => {
    await runner().runJob((await start()).id);
    const stale = (await found())!;
    const first = await inspections.keys(rig.caller, stale, { first: 100 });
    const after = first.items.at(-1)?.cursor ?? '';
    await runner().runJob((await start(['key:1*'])).id);
    const { items, hasNextPage } = await inspections.keys(rig.caller, stale, { first: 100, after });
    const names = [...items].map(({ item: { name } }) => name);
    expect([names.length > 0, names.every((name) => name.startsWith('key:1') && Number(name.slice(4)) > 99_000)]).toEqual([true, true]);
    expect(hasNextPage).toBe(true);
    await rig.db.read.backups.change(rig.caller, id, ['AVAILABLE'], { state: 'DELETING' });
    expect(await parts()).toEqual([]);
    expect(await inspections.keys(rig.caller, stale, { first: 5 })).toMatchObject({ items: [], hasNextPage: false });
  });
});
