import { DomainError } from '../../domain/errors.js';
import { openControl } from '../../engine/control.js';
import { type Dial, type Log } from '../../engine/ports.js';
import { openEndpoint } from '../../services/endpoint.js';
import { type Database, type Ids, type Vault, type WorkQueue } from '../../services/ports.js';
import { type ServiceLock } from './service-lock.js';

const BATCH = 50;
/** Once at a time: where its worker dies, the next pass makes another. */
const MAX_ATTEMPTS = 3;

export interface SettleDeps {
  db: Database;
  ids: Ids;
  log: Log;
  vault: Vault;
  dial: Dial;
  queue: WorkQueue;
}

type Unsettled = Awaited<ReturnType<Database['read']['upkeep']['unsettledRestores']>>[number];

/** The server's run id as it runs now: its lock. Rejects when nobody answers there. */
const runIdOf = async (restore: Unsettled, { db, dial, log, vault }: SettleDeps): Promise<string> => {
  const instance = await db.read.instances.get(restore, restore.instanceId);
  if (!instance) throw new DomainError('NOT_FOUND', `Instance ${restore.instanceId} is gone.`);
  const control = await openControl(await openEndpoint(vault, db.read, instance), { dial, log });
  try {
    return (await control.info('server')).get('run_id') ?? instance.server.runId;
  } finally {
    control.close();
  }
};

/**
 * Starts jobs that settle targets of ended restores: those that could not be reached when their restore was cut off, or that another
 * attempt could not settle. A job, because that holds the server's lock: a target that a new restore works on is none of the old one's. What
 * does not answer is asked again at the next pass, without a job.
 */
export const settleTargets = async (deps: SettleDeps, lock: ServiceLock, signal: AbortSignal): Promise<void> => {
  const { db, ids, log, queue } = deps;
  for (const restore of await db.read.upkeep.unsettledRestores(BATCH)) {
    if (signal.aborted) return;
    try {
      const serverRunId = await runIdOf(restore, deps);
      const jobId = ids.make('job');
      const job = await lock.write(async (tx) =>
        tx.jobs.insert({
          id: jobId, projectId: restore.projectId, kind: 'RESTORE', createdAt: await tx.now(), instanceId: restore.instanceId, backupId: null, restoreId: restore.id,
          serverRunId, cancellable: false, maxAttempts: MAX_ATTEMPTS,
        }));
      if (!job) continue;
      log.warn('The target of an ended restore was never settled; a job does it now.', { restoreId: restore.id, jobId });
      await queue.enqueueJob(jobId);
    } catch (error) {
      if (signal.aborted) return;
      log.warn('The target of an ended restore cannot be settled yet.', { restoreId: restore.id, error: error instanceof Error ? error.message : String(error) });
    }
  }
};
