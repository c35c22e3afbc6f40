import { randomBytes } from 'node:crypto';
import { createDatabase } from '../../server/db/database.js';
import { openDataSource } from '../../server/db/data-source.js';
import { type JobProgress } from '../../server/domain/job.js';
import { makeId } from '../../server/domain/ids.js';
import { topicsOf } from '../../server/events/topics.js';

/** Between two events: four a second, which is what a worker writes in the beginning of a run. */
const EVERY_MS = 250;
/** Every so many of them is no progress but something that must reach everybody. */
const LASTING_EACH = 4;

/** A job that runs, written as a worker writes it. */
export interface RunningJob {
  readonly id: string;
  /** Numbers of the events that are no progress, in the order they were written. */
  readonly lasting: readonly number[];
  /** Writes so many events; answers when the last is committed. */
  run(events: number): Promise<void>;
  stop(): Promise<void>;
}

/** @param onCommitted as the database's; tells a Redis server, say */
export const startRunningJob = async (databaseUrl: string, projectId: string, onCommitted: (topics: readonly string[]) => void = () => undefined): Promise<RunningJob> => {
  const { source, close } = await openDataSource({ url: databaseUrl });
  const db = createDatabase(source, topicsOf, { onCommitted });
  const id = makeId('job', new Date(), randomBytes(10));
  // Without an instance: what hangs on a job would cost one execution for each socket a reading for each socket, too.
  await db.transaction((tx) => tx.jobs.insert({
    id, projectId, kind: 'BACKUP', createdAt: new Date(), instanceId: null, backupId: null, restoreId: null, serverRunId: randomBytes(20).toString('hex'), cancellable: true, maxAttempts: 3,
  }));
  await db.transaction((tx) => tx.jobs.change(id, {}, { state: 'RUNNING', phase: 'TRANSFERRING', startedAt: new Date(), phases: [{ phase: 'PREPARING', startedAt: new Date(), endedAt: new Date() }, { phase: 'TRANSFERRING', startedAt: new Date(), endedAt: null }] }, { kind: 'STATE', at: new Date() }));
  const lasting: number[] = [];
  let done = 0n;
  return {
    id, lasting,
    async run(events) {
      let due = performance.now();
      for (let at = 1; at <= events; at += 1) {
        done += 12_345_678n;
        const progress: JobProgress = { bytesDone: done, bytesTotal: null, keysDone: done / 100n, keysTotal: 10n ** 9n, bytesPerSecond: 49_382_712, remainingSeconds: 300 };
        const now = new Date();
        const event = at % LASTING_EACH === 0 ? { kind: 'NOTICE' as const, at: now, notice: { code: 'BENCH', message: `Event ${at}.` } } : { kind: 'PROGRESS' as const, at: now };
        const written = await db.transaction((tx) => tx.jobs.change(id, {}, { progress }, event));
        if (!written) throw new Error('The job is gone');
        if (event.kind === 'NOTICE') lasting.push(written.sequence);
        due += EVERY_MS;
        await new Promise((resolve) => setTimeout(resolve, Math.max(0, due - performance.now())));
      }
    },
    stop: close,
  };
};
