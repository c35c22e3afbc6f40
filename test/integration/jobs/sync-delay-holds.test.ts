import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type SyncDelayHoldRow } from '../../../server/services/ports.js';
import { newId, startRig, type Rig } from './rig.js';

describe('which run, or who else, may change a server\'s delay', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig();
  });
  afterAll(() => rig?.stop());

  /** A job that runs, and the hold that its run would take. */
  const run = async (over: Partial<SyncDelayHoldRow> = {}): Promise<SyncDelayHoldRow> => {
    const { id: jobId, projectId } = await rig.insertJob();
    const claimed = await rig.db.transaction((tx) => tx.runs.claim(jobId, { worker: 'w', leaseMs: 60_000, limit: null, at: new Date() }));
    return {
      projectId, jobId, fence: claimed?.fence ?? 0, instanceId: newId('instance'), runId: randomBytes(20).toString('hex'), host: '127.0.0.1', port: 6379, before: '5', ours: '0', ...over,
    };
  };
  const repository = () => rig.db.read.syncDelays;
  const settler = (name: string, leaseMs = 60_000) => ({ name, leaseMs });

  it('is one of many that ask at once, and the same one again; the server is free when it has let go', async () => {
    const { runId } = await run();
    const runs = await Promise.all(Array.from({ length: 8 }, () => run({ runId })));
    const taken = await Promise.all(runs.map((hold) => repository().take(hold)));
    expect(taken.filter(Boolean)).toHaveLength(1);
    const winner = runs[taken.indexOf(true)];
    const loser = runs[taken.indexOf(false)];
    if (!winner || !loser) throw new Error('One won, others lost');
    // A transaction may be repeated after its commit.
    expect(await repository().take(winner)).toBe(true);
    expect([await repository().isHeld(winner), await repository().isHeld(loser), await repository().isHeld({ ...winner, fence: winner.fence + 1 })]).toEqual([true, false, false]);
    await repository().release(loser);
    expect(await repository().isHeld(winner)).toBe(true);
    await repository().release(winner);
    expect(await repository().take(loser)).toBe(true);
    await repository().release(loser);
  });

  it('is nobody else while the run owns its job, and one settler at a time when it does not any more', async () => {
    const hold = await run();
    await repository().take(hold);
    expect(await repository().claimDead(settler('early'), { limit: 10 })).toEqual([]);
    expect(await repository().leftOn(hold, hold.instanceId)).toBeNull();
    await rig.expire(hold.jobId);
    const claims = await Promise.all(['a', 'b', 'c', 'd'].map((name) => repository().claimDead(settler(name), { limit: 10 })));
    expect(claims.flat()).toEqual([hold]);
    const name = ['a', 'b', 'c', 'd'][claims.findIndex((found) => found.length === 1)] ?? '';
    // The run that was thought dead can neither change nor forget it, nor take it again.
    expect([await repository().isHeld(hold), await repository().take(hold), await repository().isClaimed(hold.runId, name), await repository().isClaimed(hold.runId, 'other')]).toEqual([false, false, true, false]);
    await repository().release(hold);
    expect(await repository().settled(hold.runId, 'other')).toBe(false);

    // What could not be settled is due again after a pause, and at once for whoever begins something there.
    await repository().giveUp(hold.runId, name);
    expect(await repository().claimDead(settler('too early'), { limit: 10 })).toEqual([]);
    expect(await repository().claimDead(settler('at work', 1), { instanceId: hold.instanceId })).toEqual([hold]);
    await rig.sql(`UPDATE sync_delay_holds SET due_at = clock_timestamp(), settling_until = clock_timestamp()`);
    expect(await repository().claimDead(settler('last'), { limit: 10 })).toEqual([hold]);
    const [{ pause } = { pause: 0 }] = await rig.sql<{ pause: number }>(`SELECT extract(epoch FROM due_at - clock_timestamp())::float8 AS pause FROM sync_delay_holds`);
    expect(Math.round(pause)).toBe(120);
    expect([await repository().settled(hold.runId, 'last'), await repository().settled(hold.runId, 'last')]).toEqual([true, false]);
  });

  it('is the next attempt, which is another run, when a job was taken back', async () => {
    const hold = await run();
    await repository().take(hold);
    await rig.db.transaction((tx) => tx.runs.giveBack(hold.jobId, hold.fence, { waitMs: 0, counts: true }, new Date()));
    expect(await repository().leftOn(hold, hold.instanceId)).toBeNull();
    await rig.db.transaction((tx) => tx.runs.claim(hold.jobId, { worker: 'w', leaseMs: 60_000, limit: null, at: new Date() }));
    expect(await repository().claimDead(settler('the next attempt'), { instanceId: hold.instanceId })).toEqual([hold]);
    await rig.sql(`UPDATE jobs SET state = 'COMPLETED' WHERE id = $1`, [hold.jobId]);
    expect(await repository().leftOn(hold, hold.instanceId)).toEqual(hold);
    expect(await repository().leftOn({ projectId: newId('project') }, hold.instanceId)).toBeNull();
    await repository().abandon(hold, hold.instanceId);
    expect(await repository().leftOn(hold, hold.instanceId)).toBeNull();
  });
});
