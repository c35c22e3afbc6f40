import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type VerificationLevel } from '../../../server/domain/backup.js';
import { DomainError } from '../../../server/domain/errors.js';
import { type Manifest } from '../../../server/engine/archive/archive.js';
import { type Store } from '../../../server/engine/store/store.js';
import { type Runner } from '../../../server/jobs/runner.js';
import { availableChange } from '../../../server/jobs/tasks/take-backup.js';
import { createVerifyTask } from '../../../server/jobs/tasks/verify.task.js';
import { type BackupRecord, type JobRecord } from '../../../server/services/records.js';
import { eventually, waitFor } from '../../kit/wait.js';
import { OTHER_MASTER, rdbOf, RING, scratchStore, writeArchive, type Scratch } from '../../unit/archive/archive-kit.js';
import { instance as instanceRecord } from '../graphql/records.js';
import { gate, newId, startRig, type Rig } from './rig.js';

const { plain, rdb } = rdbOf(1_500_000, 1);

describe('a verification job', () => {
  let rig: Rig;
  let at: Scratch;
  let id: string;
  let manifest: Manifest;
  beforeEach(async () => {
    [rig, at] = await Promise.all([startRig(), scratchStore()]);
    const { projectId } = rig.caller;
    const instance = instanceRecord({ projectId });
    await rig.db.read.instances.insert(instance, null);
    id = newId('backup');
    manifest = await writeArchive(at.store, plain, { backupId: id, blockSize: 262_144 }, { rdb, backup: { projectId, name: 'nightly', trigger: 'MANUAL' } });
    await rig.db.read.backups.insert({ id, projectId, instanceId: instance.id, jobId: newId('job'), name: 'nightly', trigger: 'MANUAL', engine: 'REDIS', engineVersion: '7.0.15', coverage: { kind: 'INSTANCE' }, createdAt: new Date() });
    await rig.db.read.backups.change(rig.caller, id, ['CREATING'], availableChange(manifest));
  });
  afterEach(async () => {
    await rig.stop();
    await at.dispose();
  });

  const row = async (): Promise<BackupRecord> => (await rig.db.read.backups.get(rig.caller, id))!;
  const isRead = (): Promise<boolean> => rig.db.read.leases.isRead(rig.caller, id);
  const leases = async (): Promise<number> => (await rig.sql('SELECT 1 FROM backup_leases')).length;
  const insert = (level: VerificationLevel): Promise<JobRecord> => rig.insertJob({ kind: 'VERIFY', backupId: id, serverRunId: null, verificationLevel: level });
  const runner = (store: Store = at.store, keys = RING): Runner => {
    const task = createVerifyTask({ db: rig.db, store, keys, log: rig.log });
    return rig.runner(task, { tasks: { VERIFY: task } });
  };
  /** A store whose reads of a whole object wait at the gate. */
  const slow = (door: ReturnType<typeof gate>): Store => Object.assign(Object.create(at.store) as Store, {
    async *read(key: string, options: Parameters<Store['read']>[1] = {}): AsyncGenerator<Uint8Array> {
      if (options.length === undefined) await door.pass(options.signal);
      yield* at.store.read(key, options);
    },
  });

  it('that finds nothing wrong leaves when, how thoroughly and by whom; the newest of each level is kept', async () => {
    expect(await row()).toMatchObject({ verifications: [], lastVerifiedAt: null, manifestSha256: manifest.sha256 });
    const jobs: JobRecord[] = [];
    for (const level of ['CONTENT', 'STRUCTURE', 'STRUCTURE'] as const) {
      const job = await insert(level);
      jobs.push(job);
      await runner().runJob(job.id);
      expect(await rig.job(job.id)).toMatchObject({ kind: 'VERIFY', conclusion: 'SUCCEEDED', failure: null, verificationLevel: level });
    }
    const { state, verifications, lastVerifiedAt } = await row();
    expect([state, verifications]).toEqual(['AVAILABLE', [
      { level: 'STRUCTURE', result: 'PASSED', verifiedAt: lastVerifiedAt, jobId: jobs[2]?.id },
      { level: 'CONTENT', result: 'PASSED', verifiedAt: expect.any(Date) as Date, jobId: jobs[0]?.id },
    ]]);
    expect([await isRead(), await leases()]).toEqual([false, 0]);
  });

  it('of a backup that was sealed before manifests were written down knows its archive from then on', async () => {
    await rig.sql('UPDATE backups SET manifest_sha256 = NULL');
    for (const [level, expected] of [['STRUCTURE', null], ['CONTENT', manifest.sha256]] as const) {
      await runner().runJob((await insert(level)).id);
      expect((await row()).manifestSha256).toBe(expected);
    }
  });

  it('holds a reader\'s lease; from the moment it is asked for, nothing deletes the backup', async () => {
    const door = gate();
    const job = await insert('CONTENT');
    expect([await isRead(), await leases()]).toEqual([true, 0]);
    const run = runner(slow(door)).runJob(job.id);
    await door.reached();
    expect([await isRead(), await leases()]).toEqual([true, 1]);
    door.open();
    await run;
    expect([await isRead(), await leases()]).toEqual([false, 0]);
    const phases = (await rig.job(job.id)).phases.map(({ phase }) => phase);
    expect(phases).toEqual(['PREPARING', 'VERIFYING']);
    expect((await rig.job(job.id)).progress).toMatchObject({ bytesDone: BigInt(plain.length), bytesTotal: BigInt(plain.length), keysDone: rdb.keys, keysTotal: rdb.keys, fraction: 1 });
  });

  it('can be cancelled, and leaves nothing then', async () => {
    const door = gate();
    const job = await insert('CONTENT');
    const run = runner(slow(door)).runJob(job.id);
    await door.reached();
    await rig.db.transaction((tx) => tx.jobs.change(job.id, {}, { cancelRequestedAt: new Date() }, { kind: 'STATE', at: new Date() }));
    await run;
    expect(await rig.job(job.id)).toMatchObject({ conclusion: 'CANCELLED', failure: null });
    expect(await row()).toMatchObject({ state: 'AVAILABLE', verifications: [], lastVerifiedAt: null });
    expect(await leases()).toBe(0);
  });

  it('whose worker is gone is repeated by the next one, and what the first one still finds changes nothing', async () => {
    const door = gate();
    const job = await insert('CONTENT');
    const first = runner(slow(door));
    const sleeping = first.runJob(job.id);
    await door.reached();
    await rig.expire(job.id);
    const [taken] = await rig.db.read.runs.expired(10);
    expect(await rig.db.transaction((tx) => tx.runs.takeBack(job.id, taken!.fence, 0, new Date()))).toBe(true);
    // To the sleeper the archive looks damaged; it has no right to say so any more.
    const bytes = await at.get(`backups/${id}/rdb`);
    await at.tamper(`backups/${id}/rdb`, Buffer.from(bytes).fill(0, 5_000, 5_064));
    door.open();
    await sleeping;
    expect(await row()).toMatchObject({ state: 'AVAILABLE', verifications: [] });
    await at.tamper(`backups/${id}/rdb`, bytes);
    await runner().runJob(job.id);
    expect(await rig.job(job.id)).toMatchObject({ conclusion: 'SUCCEEDED', attempt: 2 });
    expect(await row()).toMatchObject({ state: 'AVAILABLE', verifications: [{ level: 'CONTENT', result: 'PASSED', jobId: job.id }] });
  });

  it('that finds damage fails, and makes the backup DAMAGED in the same transaction', async () => {
    const bytes = await at.get(`backups/${id}/rdb`);
    bytes[200] = (bytes[200] ?? 0) ^ 1;
    await at.tamper(`backups/${id}/rdb`, bytes);
    const structure = await insert('STRUCTURE');
    await runner().runJob(structure.id);
    const passed = (await row()).lastVerifiedAt;
    expect(passed).toBeInstanceOf(Date);
    const job = await insert('CONTENT');
    await runner().runJob(job.id);
    const message = expect.stringMatching(new RegExp(`${id}/rdb is damaged: block 0 at byte 64`)) as string;
    expect(await rig.job(job.id)).toMatchObject({ conclusion: 'FAILED', failure: { code: 'BACKUP_DAMAGED', message, phase: 'VERIFYING', retryable: false } });
    expect(await row()).toMatchObject({
      state: 'DAMAGED', damage: { code: 'CORRUPT', message, noticedAt: expect.any(Date) as Date }, lastVerifiedAt: passed,
      verifications: [{ level: 'CONTENT', result: 'DAMAGED', jobId: job.id }, { level: 'STRUCTURE', result: 'PASSED' }],
    });
    expect(rig.logged.filter((line) => line.includes('its backup is DAMAGED'))).toHaveLength(1);
    // One that was queued meanwhile.
    const late = await insert('STRUCTURE');
    await runner().runJob(late.id);
    expect(await rig.job(late.id)).toMatchObject({ conclusion: 'FAILED', failure: { code: 'BACKUP_DAMAGED' } });
    expect((await row()).verifications).toHaveLength(2);
  });

  it.each<[string, string, () => { store?: Store; keys?: typeof RING }]>([
    ['the key', 'KEY_UNAVAILABLE', () => ({ keys: { current: OTHER_MASTER, all: [OTHER_MASTER] } })],
    ['the store', 'STORAGE_IO', () => ({ store: Object.assign(Object.create(at.store) as Store, { stat: () => Promise.reject(new DomainError('STORAGE_IO', 'The disk does not answer.')) }) })],
  ])('that cannot be carried out for want of %s says nothing about the backup', async (_, code, make) => {
    const { store, keys } = make();
    const job = await insert('CONTENT');
    await runner(store, keys).runJob(job.id);
    expect(await rig.job(job.id)).toMatchObject({ conclusion: 'FAILED', failure: { code } });
    expect(await row()).toMatchObject({ state: 'AVAILABLE', damage: null, verifications: [], lastVerifiedAt: null });
    await waitFor(async () => (await leases()) === 0);
  });

  it('of a backup that was deleted before it began fails, and makes nothing of it', async () => {
    const job = await insert('CONTENT');
    await rig.db.read.backups.change(rig.caller, id, ['AVAILABLE'], { state: 'DELETED' });
    await runner().runJob(job.id);
    expect(await rig.job(job.id)).toMatchObject({ conclusion: 'FAILED', failure: { code: 'NOT_FOUND' } });
    await eventually(async () => expect((await rig.sql<{ state: string }>('SELECT state FROM backups'))[0]?.state).toBe('DELETED'));
  });
});
