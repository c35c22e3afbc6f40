import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { wakeWaiting } from '../../../server/jobs/reconcile.js';
import { newId } from '../jobs/rig.js';
import { startScene, type UpkeepScene } from './scene.js';

describe('what was left half done', () => {
  let at: UpkeepScene;
  beforeEach(async () => {
    at = await startScene();
  });
  afterEach(() => at?.stop());

  it('a slot that was started and whose job is not there is MISSED and says so; others stay', async () => {
    const instance = await at.instance();
    const job = await at.rig.insertJob({ instanceId: instance.id });
    const policyId = newId('policy');
    const slot = async (minute: number, over: { state?: 'DUE' | 'STARTED' | 'MISSED'; jobId?: string | null }): Promise<void> => {
      const plannedAt = new Date(Math.floor(Date.now() / 60_000) * 60_000 - minute * 60_000);
      await at.rig.db.read.slots.insert({ id: newId('slot'), projectId: instance.projectId, policyId, instanceId: instance.id, plannedAt, weekday: null, state: 'STARTED', startedBy: 'NET', jobId: null, reason: null, ...over });
    };
    await slot(1, { jobId: job.id });
    await slot(2, { jobId: newId('job') });
    await slot(3, { jobId: null });
    await slot(4, { state: 'DUE' });
    await at.upkeep().pass();
    const slots = await at.rig.sql('SELECT state, job_id IS NOT NULL AS job, reason FROM slots ORDER BY planned_at DESC');
    const missed = { state: 'MISSED', job: false, reason: 'Its job is not there any more.' };
    expect(slots).toEqual([{ state: 'STARTED', job: true, reason: null }, missed, missed, { state: 'DUE', job: false, reason: null }]);
    expect(at.rig.logged.filter((line) => line.includes('its job is not there'))).toHaveLength(2);
    const [notice, ...others] = await at.rig.sql<{ body: string }>('SELECT body FROM notices');
    expect(others).toEqual([]);
    expect(JSON.parse(notice?.body ?? '')).toMatchObject({
      kind: 'SLOT_MISSED', instance: { id: instance.id }, message: '2 planned backups were missed: Its job is not there any more.', details: { policyId, missedSlots: 2, reason: missed.reason },
    });
  });

  it('a job that the clock forgot is told again, and the log says so; one that is on its way is no news', async () => {
    const old = new Date(Date.now() - 60_000);
    const [forgotten, known, fresh] = [await at.rig.insertJob({ createdAt: old }), await at.rig.insertJob({ createdAt: old }), await at.rig.insertJob()];
    const told: string[] = [];
    await wakeWaiting({
      db: at.rig.db, log: at.rig.log,
      queue: { enqueued: () => Promise.resolve([known.id]), enqueueJob: (id) => Promise.resolve(void told.push(id)) },
    });
    expect(told.sort()).toEqual([forgotten.id, known.id, fresh.id].sort());
    expect(at.rig.logged.filter((line) => line.includes('forgotten'))).toEqual([expect.stringContaining(forgotten.id)]);
  });
});
