import { recoveryStatus } from '../domain/recovery.js';
import { type Log } from '../engine/ports.js';
import { type RecoveryRow, type Repositories } from './ports.js';
import { type RecoveryDeps } from './recovery.service.js';

/** Policies that are looked at by one statement. */
const BATCH = 1_000;

const isLate = (row: RecoveryRow): boolean => recoveryStatus(row) === 'LATE';

/**
 * Notices when recovery points go LATE, and when they are well again. Not for callers: over all tenants. Each time one goes late it is told
 * once, whichever node notices it.
 */
export const createRecoveryWatch = ({ db, time, catchUpMs, log }: RecoveryDeps & { log: Log }): { look(): Promise<void> } => {
  const settle = async (tx: Repositories, policyId: string): Promise<void> => {
    // Another node that is at it does it.
    if (!(await tx.policies.lock(policyId, { skipLocked: true }))) return;
    const now = await time(tx);
    const row = await tx.recovery.ofPolicy(policyId, new Date(now.getTime() - catchUpMs));
    if (!row || isLate(row) === (row.lateSince !== null)) return;
    if (row.lateSince !== null) {
      await tx.recovery.setLate(policyId, null);
      log.info('An instance\'s recovery point is no longer late.', { instanceId: row.instanceId });
      return;
    }
    await tx.recovery.setLate(policyId, now);
    const [goodAt, dueAt] = [row.lastGoodAt?.toISOString() ?? null, row.lastDueAt?.toISOString() ?? null];
    log.warn('An instance\'s recovery point is late.', { instanceId: row.instanceId, lastGoodAt: goodAt, lastDueAt: dueAt });
    await tx.notices.append({
      kind: 'RECOVERY_LATE', projectId: row.projectId, instanceId: row.instanceId, at: now,
      message: `The newest good backup is of ${goodAt ?? 'never'}: the one planned for ${dueAt ?? 'since'} has not come to be.`,
      details: {
        lastAvailableBackupId: row.lastGoodId, completedAt: goodAt, plannedAt: dueAt,
        ageSeconds: row.lastGoodAt && Math.floor((now.getTime() - row.lastGoodAt.getTime()) / 1000),
      },
    });
  };

  return {
    async look() {
      const dueBefore = new Date((await time(db.read)).getTime() - catchUpMs);
      for (let after = ''; ; ) {
        const rows = await db.read.recovery.promised(after, dueBefore, BATCH);
        for (const row of rows) {
          if (isLate(row) !== (row.lateSince !== null)) await db.transaction((tx) => settle(tx, row.policyId));
        }
        if (rows.length < BATCH) return;
        after = rows.at(-1)?.policyId ?? after;
      }
    },
  };
};
