import { retentionDecisions } from '../../domain/retention.js';
import { type RetentionView, type Scope, type UpkeepBackup } from '../../services/ports.js';
import { type UpkeepContext } from './context.js';

const BATCH = 500;
const TAKEN = ['AVAILABLE', 'FAILED', 'DAMAGED'] as const;

type Victim = Scope & { backupId: string; instanceId: string; completedAt: number };

const expiredIn = ({ backups, instances }: RetentionView, now: Date): Victim[] => {
  const due = new Set(retentionDecisions(backups, instances, now).flatMap(({ backupId, action }) => (action === 'DELETE' ? [backupId] : [])));
  return backups.flatMap(({ backupId, projectId, instanceId, completedAt }) => (due.has(backupId) ? [{ backupId, projectId, instanceId, completedAt: completedAt?.getTime() ?? 0 }] : []));
};

/** Everything that may go, over all tenants, the longest expired first; at most `limit`. */
const choose = async (limit: number, ctx: UpkeepContext): Promise<Victim[]> => {
  let chosen: Victim[] = [];
  for (let after = ''; ; ) {
    const instanceIds = await ctx.db.read.upkeep.instancesWithExpired(ctx.now, after, BATCH);
    if (instanceIds.length > 0) chosen.push(...expiredIn(await ctx.db.read.upkeep.retention(instanceIds), ctx.now));
    chosen = chosen.sort((a, b) => a.completedAt - b.completedAt).slice(0, limit);
    const last = instanceIds.at(-1);
    if (instanceIds.length < BATCH || last === undefined) return chosen;
    after = last;
  }
};

/**
 * Decides once more, for one instance whose backups are locked: no reader can begin, and the newest good one cannot cease to be it, before
 * the chosen ones are DELETING.
 */
const condemn = (instanceId: string, chosen: ReadonlySet<string>, ctx: UpkeepContext): Promise<number> =>
  ctx.lock.write(async (tx) => {
    await tx.upkeep.lockBackups(instanceId);
    const going = expiredIn(await tx.upkeep.retention([instanceId]), ctx.now).filter(({ backupId }) => chosen.has(backupId));
    for (const { projectId, backupId } of going) await tx.backups.change({ projectId }, backupId, TAKEN, { state: 'DELETING' });
    return going.length;
  });

/** Removes the archive of a backup that is DELETING, manifest first, and says so. Whoever does it a second time changes nothing. */
const finish = async (backup: Pick<UpkeepBackup, 'id' | 'projectId' | 'state'>, ctx: UpkeepContext): Promise<void> => {
  await ctx.assertOurs();
  await ctx.archives.remove(backup.id);
  await ctx.lock.write((tx) => tx.backups.change(backup, backup.id, ['DELETING'], { state: 'DELETED' }));
  ctx.log.info('A backup was removed.', { backupId: backup.id });
};

/**
 * One pass: first what to keep, then at most `limit` deletions, those that an earlier pass began included. What is DELETING and no job
 * works on was begun by a pass or a job that died, and is brought to its end.
 * @param mayBegin false only ends what was begun
 */
export const retire = async ({ limit, mayBegin }: { limit: number; mayBegin: boolean }, ctx: UpkeepContext): Promise<number> => {
  const begun = await ctx.db.read.upkeep.abandoned('DELETING', limit);
  if (mayBegin && begun.length < limit) {
    const byInstance = new Map<string, Set<string>>();
    for (const { instanceId, backupId } of await choose(limit - begun.length, ctx)) byInstance.set(instanceId, (byInstance.get(instanceId) ?? new Set()).add(backupId));
    for (const [instanceId, chosen] of byInstance) await condemn(instanceId, chosen, ctx);
  }
  let removed = 0;
  for (const backup of await ctx.db.read.upkeep.abandoned('DELETING', limit)) {
    if (ctx.signal.aborted) break;
    try {
      await finish(backup, ctx);
      removed += 1;
    } catch (error) {
      if (ctx.signal.aborted) throw error;
      ctx.log.error('A backup could not be removed; the next pass tries again.', { backupId: backup.id, error: String(error) });
    }
  }
  return removed;
};

/** Archives that came back, or were sealed by a run nobody knew of any more, after their backup was deleted. */
export const buryUndead = async (undead: readonly UpkeepBackup[], ctx: UpkeepContext): Promise<void> => {
  for (const backup of undead) {
    // Its deletion may have ended while the store was walked.
    if (!(await ctx.archives.isSealed(backup.id))) continue;
    await ctx.assertOurs();
    await ctx.archives.remove(backup.id);
    ctx.log.warn('The archive of a deleted backup was still in the store and was removed.', { backupId: backup.id });
  }
};
