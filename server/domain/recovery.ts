export const RECOVERY_STATUSES = ['OK', 'LATE', 'NEVER', 'DISABLED'] as const;
export type RecoveryStatus = (typeof RECOVERY_STATUSES)[number];

export interface RecoveryFacts {
  /** Whether backups are promised at all: the policy is on and the instance protected. */
  enabled: boolean;
  /**
   * The newest planned instant that has had its chance: it and the catch-up time behind it have passed, and no job of its own is unfinished
   * (a backup may take longer than the catch-up time, night after night). Null when there is none.
   */
  lastDueAt: Date | null;
  /** Completion of the newest AVAILABLE backup that is no safety copy. */
  lastGoodAt: Date | null;
}

export const recoveryStatus = ({ enabled, lastDueAt, lastGoodAt }: RecoveryFacts): RecoveryStatus => {
  if (!enabled) return 'DISABLED';
  if (lastGoodAt === null) return 'NEVER';
  return lastDueAt !== null && lastGoodAt < lastDueAt ? 'LATE' : 'OK';
};
