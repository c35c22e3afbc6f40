import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startReading } from '../../server/services/reading.js';
import { seeded } from '../unit/archive/archive-kit.js';
import { sleep } from '../kit/wait.js';
import { startScene, type UpkeepScene } from '../integration/upkeep/scene.js';

const SEED = Math.floor(Math.random() * 2 ** 31);
const seed = `seed ${String(SEED)}`;

describe('several nodes', () => {
  let at: UpkeepScene;
  beforeEach(async () => {
    at = await startScene();
  });
  afterEach(() => at?.stop());

  it('that lose the lock in the middle of their passes, with readers beside them, remove what is past its time and nothing else', async () => {
    const next = seeded(SEED);
    const instances = [await at.instance(), await at.instance(), await at.instance({ removedAt: new Date() })];
    const newest: string[] = [];
    const expired: string[] = [];
    for (const instance of instances) {
      for (let days = 15; days > 9; days -= 1) expired.push(await at.backup({ instance, days, trigger: next(4) === 0 ? 'PRE_RESTORE' : 'SCHEDULED' }));
      const last = await at.backup({ instance, days: 9 });
      (instance.removedAt === null ? newest : expired).push(last);
    }
    const all = [...newest, ...expired];
    const pick = (): string => all[next(all.length)]!;
    let over = false;
    const wrong: string[] = [];
    const forAWhile = async (act: () => Promise<unknown>, pauseMs = 10): Promise<void> => {
      while (!over) {
        await act();
        await sleep(next(pauseMs));
      }
    };
    const manifest = (id: string) => at.scratch.store.stat(`backups/${id}/manifest`);
    const reader = () => forAWhile(async () => {
      const id = pick();
      const reading = await startReading(at.rig.db, at.rig.log, at.rig.caller, id, 'a test').catch(() => undefined);
      if (!reading) return;
      await sleep(next(25));
      if ((await manifest(id)) === null || (await at.stateOf(id)) !== 'AVAILABLE') wrong.push(`${id} was removed while it was read`);
      await reading.release();
    });
    let begun = 0;
    let stolen = 0;
    /** As if a holder had been stopped for longer than its lease: somewhere in every other pass, however long one takes here. */
    const thief = () => forAWhile(async () => {
      if (begun < 2 * stolen) return;
      await sleep(next(80));
      await at.rig.sql(`UPDATE service_locks SET expires_at = clock_timestamp() - interval '1 second'`);
      stolen += 1;
    });
    const nodes = Array.from({ length: 3 }, () => at.upkeep({ settings: { maxDeletions: 2 } }));
    const passing = (node: (typeof nodes)[number]) => forAWhile(() => {
      begun += 1;
      return node.pass().catch((error: unknown) => String(error).includes('taken over') || wrong.push(String(error)));
    });
    const work = [reader(), reader(), thief(), ...nodes.map(passing)];
    const left = async () => (await at.rig.sql<{ id: string }>(`SELECT id FROM backups WHERE id = ANY($1) AND state <> 'DELETED'`, [expired])).length;
    // What readers hold all the time may stay until they are gone.
    for (const deadline = performance.now() + 60_000; (await left()) > 3 && performance.now() < deadline; ) await sleep(20);
    over = true;
    await Promise.all(work);
    await at.rig.sql('DELETE FROM backup_leases');
    for (let passes = 0; (await left()) > 0 && passes < expired.length; passes += 1) await at.upkeep().pass();
    expect(stolen, seed).toBeGreaterThan(0);
    expect(wrong, seed).toEqual([]);
    expect(await left(), seed).toBe(0);
    for (const id of newest) expect([id, await at.stateOf(id)]).toEqual([id, 'AVAILABLE']);
    expect((await at.objects()).filter((key) => key.endsWith('/manifest')).sort()).toEqual(newest.map((id) => `backups/${id}/manifest`).sort());
    expect(await at.upkeep().pass()).toMatchObject({ damaged: 0, adopted: 0, proven: 0, removed: 0 });
  });
});
