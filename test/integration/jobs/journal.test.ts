import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TaskContext } from '../../../server/jobs/task.js';
import { sleep } from '../../kit/wait.js';
import { expectWholeHistory, type Rig, startRig, taskOf } from './rig.js';

const amount = (bytesDone: number) => ({ kind: 'amount', bytesDone: BigInt(bytesDone), bytesTotal: 1_000_000n, keysDone: 0n, keysTotal: null }) as const;

describe('what a run writes into its job', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig();
    // Progress rows are replaced; this remembers every one that was ever written.
    await rig.sql('CREATE TABLE seen (sequence int, kind text, job_id text, at timestamptz DEFAULT clock_timestamp())');
    await rig.sql(`CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen VALUES (NEW.sequence, NEW.kind, NEW.job_id); RETURN NEW; END $$`);
    await rig.sql('CREATE TRIGGER see AFTER INSERT ON job_events FOR EACH ROW EXECUTE FUNCTION see()');
  });
  afterAll(() => rig?.stop());

  it('at most four progress rows a second, every phase and notice in order, one progress row kept, none after the end', async () => {
    const job = await rig.insertJob();
    const startedAt = performance.now();
    let context: TaskContext | undefined;
    let kept = 0;
    await rig.runner(taskOf(async (given) => {
      context = given;
      given.onProgress({ kind: 'phase', phase: 'PREPARING' });
      given.onProgress({ kind: 'phase', phase: 'TRANSFERRING' });
      for (let i = 1; i <= 150; i += 1) {
        given.onProgress(amount(i * 1_000));
        if (i % 50 === 0) given.onProgress({ kind: 'notice', code: `N${i}`, message: 'note' });
        await sleep(10);
        const rows = await rig.events(job.id);
        kept = Math.max(kept, rows.filter(({ kind }) => kind === 'PROGRESS').length);
      }
      for (const phase of ['VERIFYING', 'SEALING', 'SEALING', 'FINALIZING'] as const) given.onProgress({ kind: 'phase', phase });
      given.onProgress(amount(999_999));
    })).runJob(job.id);
    const seconds = (performance.now() - startedAt) / 1000;
    const seen = await rig.sql<{ kind: string; sequence: number }>('SELECT kind, sequence FROM seen WHERE job_id = $1 ORDER BY sequence', [job.id]);
    const written = seen.filter(({ kind }) => kind === 'PROGRESS').length;
    expect(written).toBeGreaterThanOrEqual(3);
    // The last one, at the end, does not wait for its turn.
    expect(written).toBeLessThanOrEqual(Math.ceil(seconds * 4) + 2);
    expect(kept).toBe(1);
    const rows = await rig.events(job.id);
    expectWholeHistory(rows);
    expect(rows.filter(({ kind }) => kind === 'PROGRESS')).toEqual([]);
    expect(rows.filter(({ kind }) => kind === 'PHASE').map(({ phase }) => phase)).toEqual(['PREPARING', 'TRANSFERRING', 'VERIFYING', 'SEALING', 'FINALIZING']);
    expect(rows.filter(({ kind }) => kind === 'NOTICE')).toHaveLength(3);
    expect(await rig.job(job.id)).toMatchObject({ progress: { bytesDone: 999_999n } });

    // A straggler is no news.
    context?.onProgress(amount(1));
    context?.onProgress({ kind: 'phase', phase: 'LOADING' });
    await rig.insertJob();
    expect(await rig.events(job.id)).toEqual(rows);
  });
});
