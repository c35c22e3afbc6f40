import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase } from '../../../server/db/database.js';
import { createDataSource } from '../../../server/db/data-source.js';
import { topicsOf } from '../../../server/events/topics.js';
import { createBackupStarter } from '../../../server/services/backup-start.js';
import { once } from '../../../server/services/idempotency.js';
import { engineGate } from '../../../server/domain/capability.js';
import { waitFor } from '../../kit/wait.js';
import { gate, newId, type Rig, startRig } from '../jobs/rig.js';

describe('many at once', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig();
  });
  afterAll(() => rig?.stop());

  it('one idempotency key from ten callers makes one thing, and all are told of it', async () => {
    const at = new Date();
    let made = 0;
    const call = (input: Record<string, unknown>) => {
      const ids = { job: newId('job') };
      return rig.db.transaction((tx) =>
        once(tx, rig.caller, { mutation: 'm', key: 'k', input, ids, at }, async () => {
          await tx.now();
          made += 1;
          return ids.job;
        }, (earlier) => Promise.resolve(earlier['job'])));
    };
    const told = await Promise.all(Array.from({ length: 10 }, () => call({ a: 1 })));
    expect(made).toBe(1);
    expect(new Set(told).size).toBe(1);
    await expect(call({ a: 2 })).rejects.toMatchObject({ code: 'IDEMPOTENCY_CONFLICT' });
  });

  it('a key whose first call failed is free again, also for who waited for it', async () => {
    const at = new Date();
    let calls = 0;
    const call = () => rig.db.transaction((tx) =>
      once(tx, rig.caller, { mutation: 'm', key: 'fails once', input: {}, ids: {}, at }, async () => {
        calls += 1;
        await tx.now();
        if (calls === 1) throw new Error('first');
        return 'made';
      }, () => Promise.resolve('recalled')));
    const outcomes = await Promise.allSettled([call(), call(), call()]);
    expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(1);
    expect(outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : [])).sort()).toEqual(['made', 'recalled']);
  });

  it('keys are forgotten after their time, and not before', async () => {
    const claim = (key: string, at: Date) => rig.db.transaction((tx) => tx.idempotency.claim(rig.caller, { mutation: 'old', key, inputHash: 'h', result: {}, at }));
    await claim('old', new Date(Date.now() - 3 * 24 * 3_600_000));
    await claim('new', new Date());
    await rig.db.read.idempotency.forgetOld(100);
    expect(await rig.sql(`SELECT key FROM idempotency_keys WHERE mutation = 'old'`)).toEqual([{ key: 'new' }]);
  });

  it('one job holds a server; of many that move to it at once, one gets it and the others are told that it is busy', async () => {
    const server = randomBytes(20).toString('hex');
    const inserts = await Promise.allSettled(Array.from({ length: 8 }, () => rig.insertJob({ serverRunId: server })));
    expect(inserts.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);

    const moved = randomBytes(20).toString('hex');
    const claimed = await Promise.all(Array.from({ length: 8 }, async () => {
      const { id } = await rig.insertJob();
      return rig.db.transaction((tx) => tx.runs.claim(id, { worker: 'w', leaseMs: 30_000, limit: null, at: new Date() }));
    }));
    const bound = await Promise.all(claimed.map((run) => rig.db.read.runs.bindServer(run?.job.id ?? '', run?.fence ?? 0, moved)));
    expect(bound.filter(Boolean)).toHaveLength(1);
  });

  it('one slot per policy and instant', async () => {
    const [policyId, plannedAt] = [newId('policy'), new Date()];
    const inserted = await Promise.all(Array.from({ length: 10 }, () =>
      rig.db.transaction((tx) => tx.slots.insert({
        id: newId('slot'), projectId: rig.caller.projectId, policyId, instanceId: newId('instance'), plannedAt, weekday: null, state: 'DUE', startedBy: null, jobId: null, reason: null,
      }))));
    expect(inserted.filter(Boolean)).toHaveLength(1);
  });

  it('deleting all backups of an instance and single ones of them at once ends without a deadlock, each deleted once', async () => {
    const starter = createBackupStarter({ make: (kind) => newId(kind) }, engineGate([]));
    const instanceId = newId('instance');
    const ids: string[] = [];
    for (let i = 0; i < 30; i += 1) {
      const id = newId('backup', new Date(Date.now() + i));
      ids.push(id);
      await rig.db.transaction(async (tx) => {
        await tx.backups.insert({ id, projectId: rig.caller.projectId, instanceId, jobId: newId('job'), name: `b${i}`, trigger: 'MANUAL', engine: 'REDIS', engineVersion: '7.0.0', coverage: { kind: 'INSTANCE' }, createdAt: new Date() });
        await tx.backups.change(rig.caller, id, ['CREATING'], { state: 'FAILED', completedAt: new Date() });
      });
    }
    // The oldest, which the deletion of all comes to last, is locked before it begins and needs the event log while it goes on.
    const oldest = gate();
    const single = (id: string) => rig.db.transaction(async (tx) => {
      const backup = await tx.backups.lock(rig.caller, id);
      if (id === ids[0]) await oldest.pass();
      if (!backup || !(await tx.backups.change(rig.caller, id, ['FAILED'], { state: 'DELETING' }))) return [];
      return [(await starter.startDeletion(tx, backup, newId('job'), new Date())).backupId];
    });
    const first = single(ids[0] ?? '');
    await oldest.reached();
    const all = rig.db.transaction((tx) => starter.deleteAllOf(tx, rig.caller, instanceId, new Date()));
    await waitFor(async () => (await rig.sql(`SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'`)).length > 0, { message: 'it to wait for the oldest' });
    oldest.open();
    await Promise.all([first, all, ...ids.slice(1).reverse().map(single)]);
    const jobs = await rig.sql<{ backup_id: string }>(`SELECT backup_id FROM jobs WHERE kind = 'DELETE' AND backup_id = ANY($1)`, [ids]);
    expect(jobs.map(({ backup_id }) => backup_id).sort()).toEqual([...ids].sort());
  });

  it('an event draws its place in the feed when all before it can be seen, so that whoever reads on after a cursor skips none', async () => {
    const [first, second] = [await rig.insertJob(), await rig.insertJob()];
    const drawn = async (): Promise<string | undefined> => (await rig.sql<{ last_value: string }>('SELECT last_value FROM job_event_position'))[0]?.last_value;
    const change = (id: string, beforeCommit: () => Promise<unknown>): Promise<void> => rig.db.transaction(async (tx) => {
      await tx.jobs.change(id, {}, {}, { kind: 'NOTICE', at: new Date(), notice: { code: 'PLACED', message: 'm' } });
      await beforeCommit();
    });
    const held = gate();
    const before = await drawn();
    const holding = change(first.id, () => held.pass());
    const place = await waitFor(async () => {
      const now = await drawn();
      return now === before ? undefined : now;
    }, { message: 'the first to have its place' });
    const waiting = change(second.id, () => Promise.resolve());
    await waitFor(async () => (await rig.sql(`SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`)).length > 0, { message: 'the second to wait for its turn' });
    expect(await drawn()).toBe(place);
    held.open();
    await Promise.all([holding, waiting]);
    expect(await drawn()).not.toBe(place);
  });

  it('a process that stands still in the middle of a transaction does not hold up the events of others for ever', async () => {
    const source = createDataSource({ url: rig.url, poolSize: 1, idleInTransactionMs: 4_000 });
    await source.initialize();
    try {
      const stopped = createDatabase(source, topicsOf);
      let wake: () => void = () => undefined;
      const woken = new Promise<void>((resolve) => {
        wake = resolve;
      });
      let holds: () => void = () => undefined;
      const holding = new Promise<void>((resolve) => {
        holds = resolve;
      });
      const job = await rig.insertJob();
      const standing = stopped.transaction(async (tx) => {
        await tx.jobs.change(job.id, {}, {}, { kind: 'NOTICE', at: new Date(), notice: { code: 'STOPPED', message: 'm' } });
        holds();
        await woken;
        await tx.now();
      });
      const refused = expect(standing).rejects.toSatisfy((error) => stopped.isTransient(error));
      await holding;
      const before = performance.now();
      await rig.insertJob();
      expect(performance.now() - before).toBeGreaterThan(100);
      wake();
      await refused;
      expect((await rig.events(job.id)).map(({ kind }) => kind)).toEqual(['STATE']);
    } finally {
      await source.destroy();
    }
  });

  it('knows faults that pass from those that do not', async () => {
    const fault = (sql: string): Promise<unknown> => rig.source.query(sql).then(() => undefined, (error: unknown) => error);
    expect(rig.db.isTransient(await fault('SELECT nothing FROM nowhere'))).toBe(false);
    expect(rig.db.isTransient(await fault('SELECT 1 / 0'))).toBe(false);
    expect(rig.db.isTransient(new Error('other'))).toBe(false);
    expect(rig.db.isTransient(await fault('SELECT pg_terminate_backend(pg_backend_pid())'))).toBe(true);
    const away = createDataSource({ url: 'postgres://nobody@127.0.0.1:1/none', poolSize: 1 });
    expect(rig.db.isTransient(await away.initialize().then(() => undefined, (error: unknown) => error))).toBe(true);
  });
});
