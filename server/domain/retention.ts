import { type BackupState, type Trigger } from './backup.js';

export const RETENTION_DAYS = 7;
const RETENTION_MS = RETENTION_DAYS * 24 * 60 * 60 * 1000;

/** When a backup expires: 7 times 24 hours after it completed, whatever made it. */
export const expiresAt = (completedAt: Date): Date => new Date(completedAt.getTime() + RETENTION_MS);

/** What retention must know of one backup. DELETING and DELETED rows are past its decision and are not handed in. */
export interface RetentionFacts {
  backupId: string;
  instanceId: string;
  state: Exclude<BackupState, 'DELETING' | 'DELETED'>;
  trigger: Trigger;
  /** When it became AVAILABLE or FAILED; null while CREATING. A DAMAGED backup keeps the time at which it had completed. */
  completedAt: Date | null;
  /** Whether a download, a restore or a check holds a live lease for reading it. */
  inUse: boolean;
}

export interface RetentionInstance {
  instanceId: string;
  /** Registered and not removed. */
  protected: boolean;
}

export type RetentionDecision =
  | { backupId: string; action: 'KEEP'; because: 'NOT_EXPIRED' | 'NEWEST_GOOD' | 'IN_USE' }
  | { backupId: string; action: 'DELETE'; because: 'EXPIRED' };

type Completed = RetentionFacts & { completedAt: Date };

const isGood = (backup: RetentionFacts): backup is Completed =>
  backup.state === 'AVAILABLE' && backup.trigger !== 'PRE_RESTORE' && backup.completedAt !== null;

/** Ids begin with the time of their making, so they break ties in favour of the later backup. */
const isNewer = (one: Completed, other: Completed): boolean =>
  one.completedAt.getTime() === other.completedAt.getTime()
    ? one.backupId > other.backupId
    : one.completedAt.getTime() > other.completedAt.getTime();

/**
 * Decides for every backup whether it stays, in the order given. What to keep is computed first: the newest AVAILABLE backup of
 * each protected instance (safety copies do not count as that one). `backups` must hold all backups of the instances concerned:
 * with only a part of them the newest one cannot be known. An instance missing from `instances` is taken as protected, since a
 * deletion cannot be undone. When several reasons hold, the first of NOT_EXPIRED, NEWEST_GOOD, IN_USE is named.
 */
export const retentionDecisions = (
  backups: readonly RetentionFacts[], instances: readonly RetentionInstance[], now: Date,
): RetentionDecision[] => {
  const removed = new Set(instances.filter((instance) => !instance.protected).map((instance) => instance.instanceId));
  const newest = new Map<string, Completed>();
  for (const backup of backups) {
    if (!isGood(backup) || removed.has(backup.instanceId)) continue;
    const best = newest.get(backup.instanceId);
    if (!best || isNewer(backup, best)) newest.set(backup.instanceId, backup);
  }
  return backups.map((backup): RetentionDecision => {
    const { backupId } = backup;
    if (backup.state === 'CREATING' || backup.completedAt === null || now < expiresAt(backup.completedAt)) {
      return { backupId, action: 'KEEP', because: 'NOT_EXPIRED' };
    }
    if (newest.get(backup.instanceId)?.backupId === backupId) return { backupId, action: 'KEEP', because: 'NEWEST_GOOD' };
    if (backup.inUse) return { backupId, action: 'KEEP', because: 'IN_USE' };
    return { backupId, action: 'DELETE', because: 'EXPIRED' };
  });
};
