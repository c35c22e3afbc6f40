/** Whether something reads backup `b`, or a restore, verification or inspection that is still to begin will. */
export const IS_READ = `(
    EXISTS (SELECT 1 FROM backup_leases l WHERE l.backup_id = b.id AND l.expires_at > clock_timestamp())
    OR EXISTS (SELECT 1 FROM jobs r WHERE r.backup_id = b.id AND r.kind IN ('RESTORE', 'PLAN', 'VERIFY', 'INSPECT') AND r.state <> 'COMPLETED'))`;

/** Whether backup `b` is the newest good one of an instance that is protected still, as `domain/retention.ts` has it. */
const IS_NEWEST_GOOD = `(
    b.state = 'AVAILABLE' AND b.trigger <> 'PRE_RESTORE' AND NOT EXISTS (
      SELECT 1 FROM backups n WHERE n.instance_id = b.instance_id AND n.state = 'AVAILABLE' AND n.trigger <> 'PRE_RESTORE'
        AND (n.completed_at, n.id) > (b.completed_at, b.id))
    AND EXISTS (SELECT 1 FROM instances k WHERE k.id = b.instance_id AND k.removed_at IS NULL))`;

/** `retainedBecause` of backup `b`. */
export const RETAINED_BECAUSE = `CASE WHEN b.state NOT IN ('AVAILABLE', 'DAMAGED') THEN NULL WHEN ${IS_NEWEST_GOOD} THEN 'NEWEST_GOOD' WHEN ${IS_READ} THEN 'IN_USE' END`;
