import { randomUUID } from 'node:crypto';
import { addressOf } from '../../domain/address.js';
import { DomainError } from '../../domain/errors.js';
import { type Clock, type Dial, type Log } from '../../engine/ports.js';
import { byHand, settleSyncDelay } from '../../engine/source/sync-delay/put-back.js';
import { openEndpoint } from '../../services/endpoint.js';
import { type Database, type Settler, type SyncDelayHoldRow, type Vault } from '../../services/ports.js';

/** At once, and in one pass. */
const BATCH = 20;
/** A connection and five commands, each of which may take five seconds. */
const LEASE_MS = 60_000;

export interface SyncDelaySettlerDeps {
  db: Database;
  vault: Vault;
  dial: Dial;
  clock: Clock;
  log: Log;
  /** Names this process. */
  worker: string;
}

/**
 * Puts back what backups could not: their runs died, or the server did not answer them. Neither rejects; what cannot be settled is told in the log, and
 * tried again.
 */
export interface SyncDelaySettler {
  /** All that are due. Safe on every node at once. */
  settleDue(): Promise<void>;
  /** Those of one instance, due or not: before something new begins there. */
  settleOn(instanceId: string): Promise<void>;
}

export const createSyncDelaySettler = (deps: SyncDelaySettlerDeps): SyncDelaySettler => {
  const { db, vault, dial, clock, log, worker } = deps;

  const settleOne = async (hold: SyncDelayHoldRow, settler: string): Promise<void> => {
    const instance = await db.read.instances.get(hold, hold.instanceId);
    if (!instance) throw new DomainError('NOT_FOUND', `Instance ${hold.instanceId} is gone.`);
    const endpoint = { ...(await openEndpoint(vault, db.read, instance)), host: hold.host, port: hold.port };
    const { action, message } = await settleSyncDelay(hold, endpoint, {
      dial, log,
      async assertHeld() {
        if (!(await db.read.syncDelays.isClaimed(hold.runId, settler))) throw new DomainError('INTERRUPTED', 'Somebody else settles it.', { retryable: true });
      },
    });
    const code = action === 'LEFT_ALONE' ? 'SYNC_DELAY_LEFT_ALONE' : 'SYNC_DELAY_SETTLED';
    await db.transaction(async (tx) => {
      if (!(await tx.syncDelays.settled(hold.runId, settler))) return;
      // Its job may have ended long ago; that is where one looks for what became of it.
      await tx.jobs.change(hold.jobId, {}, {}, { kind: 'NOTICE', at: clock.now(), notice: { code, message } });
    });
    log[action === 'LEFT_ALONE' ? 'warn' : 'info'](`After a backup that was cut off: ${message}`, { instanceId: hold.instanceId, jobId: hold.jobId, action });
  };

  const settle = async (of: { instanceId: string } | { limit: number }): Promise<void> => {
    const settler: Settler = { name: `${worker} ${randomUUID()}`, leaseMs: LEASE_MS };
    try {
      const holds = await db.read.syncDelays.claimDead(settler, of);
      await Promise.all(holds.map(async (hold) => {
        try {
          await settleOne(hold, settler.name);
        } catch (error) {
          log.warn(`The repl-diskless-sync-delay of ${addressOf(hold)} cannot be put back yet.`, { instanceId: hold.instanceId, jobId: hold.jobId, hint: byHand(hold), error: String(error) });
          await db.read.syncDelays.giveUp(hold.runId, settler.name);
        }
      }));
    } catch (error) {
      log.warn('Servers whose delay is to be put back could not be looked for; the next pass does it.', { error: String(error) });
    }
  };

  return { settleDue: () => settle({ limit: BATCH }), settleOn: (instanceId) => settle({ instanceId }) };
};
