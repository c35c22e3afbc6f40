import { randomUUID } from 'node:crypto';
import { DomainError } from '../domain/errors.js';
import { type Log } from '../engine/ports.js';
import { readableBackup } from './backup.service.js';
import { type Database, type Scope } from './ports.js';
import { type BackupRecord } from './records.js';

/** Renewed three times in its life, so that one lost renewal does no harm. */
const LEASE_SECONDS = 60;

export interface Reading {
  backup: BackupRecord & { sizeBytes: bigint; sha256: string };
  /** Aborted when the lease could not be kept: the archive may be gone from then on. */
  readonly lost: AbortSignal;
  release(): Promise<void>;
}

/**
 * Takes a reader's lease on an AVAILABLE backup and keeps it until `release`: while it lives, nothing deletes the backup. Taken under the
 * backup's row lock, which a deletion takes too. Ends by itself when this process dies.
 */
export const startReading = async (db: Database, log: Log, scope: Scope, backupId: string, holder: string): Promise<Reading> => {
  const id = randomUUID();
  const backup = await db.transaction(async (tx) => {
    const locked = readableBackup(await tx.backups.lock(scope, backupId), backupId);
    await tx.leases.add(scope, { id, backupId, holder, seconds: LEASE_SECONDS });
    return locked;
  });
  const lost = new AbortController();
  let renewedAt = performance.now();
  const lose = (): void => lost.abort(new DomainError('INTERRUPTED', `The lease for reading backup ${backupId} was lost.`, { retryable: true }));
  const timer = setInterval(() => {
    const asked = performance.now();
    // While the database is away nobody renews it, and it ends all the same.
    if (asked - renewedAt >= LEASE_SECONDS * 1000) lose();
    db.read.leases.renew(id, LEASE_SECONDS).then(
      (kept) => {
        if (kept) renewedAt = asked;
        else lose();
      },
      (error: unknown) => log.warn('A reader\'s lease could not be renewed; it is tried again.', { backupId, error: String(error) }),
    );
  }, (LEASE_SECONDS * 1000) / 3);
  return {
    backup,
    lost: lost.signal,
    async release() {
      clearInterval(timer);
      // A lease that cannot be given back ends by itself.
      await db.read.leases.remove(id).catch((error: unknown) => log.warn('A reader\'s lease could not be given back.', { backupId, error: String(error) }));
    },
  };
};
