import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase } from '../../../server/db/database.js';
import { DomainError } from '../../../server/domain/errors.js';
import { topicsOf } from '../../../server/events/topics.js';
import { createDeleteTask } from '../../../server/jobs/tasks/delete.task.js';
import { startReading } from '../../../server/services/reading.js';
import { waitFor } from '../../kit/wait.js';
import { gate } from '../jobs/rig.js';
import { DAY, QUIET, setClock, startScene, storeWith, type UpkeepScene } from './scene.js';

describe('retention', () => {
  let at: UpkeepScene;
  beforeEach(async () => {
    at = await startScene();
  });
  afterEach(() => at?.stop());

  const manifestOf = (id: string): string => `backups/${id}/manifest`;

  it('removes what is past its time, whatever made it and however it stands, and keeps the newest good one of a protected instance', async () => {
    const kept = await at.instance();
    const gone = await at.instance({ removedAt: new Date() });
    const good = [await at.backup({ instance: kept, days: 20 }), await at.backup({ instance: kept, days: 10, trigger: 'SCHEDULED' })];
    const others = [
      await at.backup({ instance: kept, days: 8, trigger: 'PRE_RESTORE' }), await at.backup({ instance: kept, days: 9, state: 'FAILED', archive: false }),
      await at.backup({ instance: kept, days: 7.001, state: 'DAMAGED' }), await at.backup({ instance: gone, days: 8 }),
    ];
    const young = [await at.backup({ instance: kept, days: 6.99, trigger: 'PRE_RESTORE' }), await at.backup({ instance: gone, days: 6.99 })];
    expect(await at.upkeep().pass()).toMatchObject({ stoppedBecause: null, removed: 5 });
    for (const id of [good[0]!, ...others]) expect(await at.stateOf(id), id).toBe('DELETED');
    for (const id of [good[1]!, ...young]) expect(await at.stateOf(id), id).toBe('AVAILABLE');
    expect((await at.objects()).filter((key) => key.endsWith('manifest')).sort()).toEqual([good[1]!, ...young].map(manifestOf).sort());
    expect(await at.upkeep().pass()).toMatchObject({ removed: 0, damaged: 0, adopted: 0 });
  });

  it('removes at most so many in one pass, the longest expired first, and those that another pass began count', async () => {
    const instance = await at.instance();
    const ids: string[] = [];
    for (const days of [30, 29, 28, 27, 26, 1]) ids.push(await at.backup({ instance, days }));
    const states = async () => (await at.rig.sql<{ state: string }>('SELECT state FROM backups WHERE id = ANY($1) ORDER BY completed_at', [ids])).map(({ state }) => state);
    const upkeep = at.upkeep({ settings: { maxDeletions: 2 } });
    expect(await upkeep.pass()).toMatchObject({ removed: 2 });
    expect(await states()).toEqual(['DELETED', 'DELETED', 'AVAILABLE', 'AVAILABLE', 'AVAILABLE', 'AVAILABLE']);
    const broken = at.upkeep({
      settings: { maxDeletions: 2 },
      store: storeWith(at.scratch.store, { remove: () => Promise.reject(new DomainError('STORAGE_IO', 'The disk is gone.')) }),
    });
    expect(await broken.pass()).toMatchObject({ removed: 0 });
    expect(await broken.pass()).toMatchObject({ removed: 0 });
    // A store that removes nothing does not take ever more backups out of reach.
    expect(await states()).toEqual(['DELETED', 'DELETED', 'DELETING', 'DELETING', 'AVAILABLE', 'AVAILABLE']);
    expect(await upkeep.pass()).toMatchObject({ removed: 2 });
    expect(await upkeep.pass()).toMatchObject({ removed: 1 });
    expect(await states()).toEqual(['DELETED', 'DELETED', 'DELETED', 'DELETED', 'DELETED', 'AVAILABLE']);
  });

  it('ends the deletions of jobs that failed or were given up in the middle: nobody has to ask twice', async () => {
    const instance = await at.instance();
    const [broken, killed] = [await at.backup({ instance, days: 1, state: 'DELETING' }), await at.backup({ instance, days: 1, state: 'DELETING' })];
    const store = storeWith(at.scratch.store, {
      remove: (key) => (key.endsWith('manifest') ? at.scratch.store.remove(key) : Promise.reject(new DomainError('STORAGE_IO', 'The disk is gone.'))),
    });
    for (const [backupId, code] of [[broken, 'STORAGE_IO'], [killed, 'INTERRUPTED']] as const) {
      const job = await at.rig.insertJob({ kind: 'DELETE', backupId, serverRunId: null, maxAttempts: 1 });
      if (code === 'INTERRUPTED') await at.rig.sql('UPDATE jobs SET attempt = 1 WHERE id = $1', [job.id]);
      const task = createDeleteTask({ store });
      await at.rig.runner(task, { tasks: { DELETE: task } }).runJob(job.id);
      expect(await at.rig.job(job.id)).toMatchObject({ conclusion: 'FAILED', failure: { code } });
      expect(await at.stateOf(backupId)).toBe('DELETING');
    }
    expect(await at.objects()).not.toContain(manifestOf(broken));
    expect(await at.upkeep().pass()).toMatchObject({ removed: 2 });
    expect([await at.stateOf(broken), await at.stateOf(killed), await at.objects()]).toEqual(['DELETED', 'DELETED', []]);
  });

  it('cut off between manifest and data: another node ends it, and the first one, should it wake, changes nothing', async () => {
    const instance = await at.instance();
    const old = await at.backup({ instance, days: 9 });
    await at.backup({ instance, days: 1 });
    const dead = gate();
    const removed: string[] = [];
    const first = at.upkeep({
      lease: QUIET,
      store: storeWith(at.scratch.store, {
        async remove(key) {
          if (!key.endsWith('manifest')) await dead.pass();
          await at.scratch.store.remove(key);
          removed.push(key);
        },
      }),
    }).pass();
    await dead.reached();
    expect(removed).toEqual([manifestOf(old)]);
    expect(await at.stateOf(old)).toBe('DELETING');
    // Until its lease is over, nobody else is at it.
    expect(await at.upkeep().pass()).toBeNull();
    await at.rig.sql(`UPDATE service_locks SET expires_at = clock_timestamp()`);
    expect(await at.upkeep().pass()).toMatchObject({ removed: 1 });
    expect(await at.stateOf(old)).toBe('DELETED');
    expect((await at.objects()).filter((key) => key.includes(old))).toEqual([]);
    dead.open();
    expect(await first).toMatchObject({ removed: 0 });
    expect(await at.stateOf(old)).toBe('DELETED');
  });

  it('keeps what is read, and what a queued restore will read, until that has ended', async () => {
    const instance = await at.instance();
    const [read, wanted] = [await at.backup({ instance, days: 9 }), await at.backup({ instance, days: 8 })];
    await at.backup({ instance, days: 1 });
    const lease = await at.lease(read);
    const job = await at.rig.insertJob({ kind: 'RESTORE', backupId: wanted, instanceId: instance.id });
    expect((await at.rig.db.read.backups.get(at.rig.caller, read))?.retainedBecause).toBe('IN_USE');
    expect(await at.upkeep().pass()).toMatchObject({ removed: 0 });
    await at.rig.db.read.leases.remove(lease);
    await at.rig.sql(`UPDATE jobs SET state = 'COMPLETED' WHERE id = $1`, [job.id]);
    expect(await at.upkeep().pass()).toMatchObject({ removed: 2 });
  });

  it('a reader that comes at the same moment either reads, or is told that the backup is going; never both', async () => {
    const instance = await at.instance();
    await at.backup({ instance, days: 1 });
    for (let round = 0; round < 12; round += 1) {
      const old = await at.backup({ instance, days: 9 });
      const begin = () => startReading(at.rig.db, at.rig.log, at.rig.caller, old, 'a test').then((reading) => ({ reading }), (error: unknown) => ({ error }));
      const [, outcome] = await Promise.all([at.upkeep().pass(), new Promise((resolve) => setTimeout(resolve, round * 3)).then(begin)]);
      if ('reading' in outcome) {
        expect(await at.stateOf(old)).toBe('AVAILABLE');
        expect(await at.objects()).toContain(manifestOf(old));
        await outcome.reading.release();
        expect(await at.upkeep().pass()).toMatchObject({ removed: 1 });
      } else {
        expect(String(outcome.error)).toMatch(/is DELETING|There is no backup/);
        expect(await at.stateOf(old)).toBe('DELETED');
      }
    }
  });

  it('decides under the locks: a newest one that is found damaged meanwhile makes the next one stay', async () => {
    const instance = await at.instance();
    const [old, newest] = [await at.backup({ instance, days: 20 }), await at.backup({ instance, days: 10 })];
    // The decision has been made when somebody else holds the rows; it is made anew once they are free.
    const client = at.rig.source.createQueryRunner();
    await client.connect();
    await client.query('BEGIN');
    await client.query(`UPDATE backups SET state = 'DAMAGED' WHERE id = $1`, [newest]);
    const passing = at.upkeep().pass();
    await waitFor(async () => (await at.rig.sql(`SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%backups%'`)).length > 0, { message: 'the pass to wait for the rows' });
    await client.query('COMMIT');
    await client.release();
    await passing;
    expect(await at.stateOf(old)).toBe('AVAILABLE');
    // What is damaged goes by its time, at the next pass.
    expect(await at.upkeep().pass()).toMatchObject({ removed: 1 });
    expect([await at.stateOf(old), await at.stateOf(newest)]).toEqual(['AVAILABLE', 'DELETED']);
  });

  it('a clock that jumped stops it, and two passes that find the clocks agreeing let it go on', async () => {
    const instance = await at.instance();
    const [old, last] = [await at.backup({ instance, days: 6.5 }), await at.backup({ instance, days: 1 })];
    let jumped = 0;
    const upkeep = at.upkeep({ databaseClock: async () => new Date((await at.rig.db.read.now()).getTime() + jumped), clock: { now: () => new Date(Date.now() + jumped) } });
    expect(await upkeep.pass()).toMatchObject({ stoppedBecause: null, removed: 0 });
    // Both clocks together: a machine that runs both, say, and was set.
    jumped = 30 * DAY;
    expect(await upkeep.pass()).toMatchObject({ stoppedBecause: expect.stringMatching(/jumped 2592\d{3} s ahead/) as string, removed: 0 });
    expect((await upkeep.status()).stoppedBecause).toMatch(/jumped/);
    jumped = 0;
    expect(await upkeep.pass()).toMatchObject({ stoppedBecause: expect.stringContaining('back') as string });
    // A process that was started meanwhile does not know more, but it reads what the others saw.
    for (let pass = 0; pass < 2; pass += 1) expect(await at.upkeep().pass()).toMatchObject({ stoppedBecause: expect.stringContaining('agree again') as string, removed: 0 });
    expect(await upkeep.pass()).toMatchObject({ stoppedBecause: null });
    expect([await at.stateOf(old), await at.stateOf(last)]).toEqual(['AVAILABLE', 'AVAILABLE']);
    jumped = 2 * DAY;
    for (let pass = 0; pass < 3; pass += 1) expect(await upkeep.pass()).toMatchObject({ removed: 0 });
    expect(await upkeep.pass()).toMatchObject({ stoppedBecause: null, removed: 1 });
    expect([await at.stateOf(old), await at.stateOf(last)]).toEqual(['DELETED', 'AVAILABLE']);
    expect(at.rig.logged.filter((line) => line.startsWith('Sweeping and retention'))).toHaveLength(7);
  });

  it('a node whose own clock is off removes nothing; another one does', async () => {
    const instance = await at.instance();
    const old = await at.backup({ instance, days: 9 });
    await at.backup({ instance, days: 1 });
    const wrong = setClock(Date.now() - 15 * 60_000);
    const off = at.upkeep({ clock: wrong });
    expect(await off.pass()).toMatchObject({ stoppedBecause: expect.stringContaining('900 s behind') as string, removed: 0 });
    expect(await at.stateOf(old)).toBe('AVAILABLE');
    expect(await at.upkeep().pass()).toMatchObject({ stoppedBecause: null, removed: 1 });
    wrong.add(15 * 60_000);
    const another = await at.backup({ instance, days: 8 });
    for (let pass = 0; pass < 2; pass += 1) expect(await off.pass()).toMatchObject({ removed: 0 });
    expect(await off.pass()).toMatchObject({ stoppedBecause: null, removed: 1 });
    expect(await at.stateOf(another)).toBe('DELETED');
  });

  it('tells the operator once a day that it stands still, whichever node finds so', async () => {
    const db = createDatabase(at.rig.source, topicsOf, { notices: true });
    const told = async () => (await at.rig.sql<{ body: string }>('SELECT body FROM notices ORDER BY created_at')).map(({ body }) => JSON.parse(body) as object);
    const [good, off] = [at.upkeep({ db }), at.upkeep({ db, clock: setClock(Date.now() - 15 * 60_000) })];
    for (const upkeep of [good, off, good, off, off]) await upkeep.pass();
    expect(await told()).toMatchObject([{ kind: 'RETENTION_STOPPED', message: expect.stringContaining('900 s behind') as string, details: { cause: 'CLOCK' } }]);
    await at.scratch.store.claim('another', await at.scratch.store.owner());
    for (const upkeep of [off, good, good]) await upkeep.pass();
    expect(await told()).toMatchObject([{}, { message: expect.stringContaining('belongs to catalogue another') as string, details: { cause: 'STORE' } }]);
    const status = JSON.parse((await db.read.settings.get('upkeep'))!) as object;
    await db.read.settings.put('upkeep', JSON.stringify({ ...status, toldAt: new Date(Date.now() - 1.01 * DAY) }));
    await good.pass();
    expect(await told()).toHaveLength(3);
  });
});
