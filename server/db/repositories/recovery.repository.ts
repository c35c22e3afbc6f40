import { type EntityManager } from 'typeorm';
import { reaches } from '../../domain/principal.js';
import { type RecoveryRepository, type RecoveryRow } from '../../services/ports.js';

/** The newest AVAILABLE backup of instance `i` that is no safety copy. */
const LAST_GOOD = `
  LEFT JOIN LATERAL (
    SELECT b.id, b.completed_at FROM backups b WHERE b.instance_id = i.id AND b.state = 'AVAILABLE' AND b.trigger <> 'PRE_RESTORE'
    ORDER BY b.completed_at DESC, b.id DESC LIMIT 1) good ON true`;

/** The facts of `domain/recovery.ts`; $1 is the instant before which a planned run has had its catch-up time. */
const FACTS = `
  SELECT p.id AS "policyId", p.project_id AS "projectId", p.instance_id AS "instanceId", p.enabled AND i.removed_at IS NULL AS enabled,
    p.next_run_at AS "nextRunAt", p.late_since AS "lateSince", good.id AS "lastGoodId", good.completed_at AS "lastGoodAt",
    greatest(due.planned_at, CASE WHEN p.next_run_at < $1 THEN p.next_run_at END) AS "lastDueAt"
  FROM backup_policies p JOIN instances i ON i.id = p.instance_id ${LAST_GOOD}
  LEFT JOIN LATERAL (
    SELECT s.planned_at FROM slots s WHERE s.instance_id = i.id AND s.planned_at < $1
      AND NOT (s.state = 'STARTED' AND EXISTS (SELECT 1 FROM jobs j WHERE j.id = s.job_id AND j.state <> 'COMPLETED'))
    ORDER BY s.planned_at DESC LIMIT 1) due ON true`;

export const createRecoveryRepository = (manager: EntityManager): RecoveryRepository => ({
  ofInstances: (scope, instanceIds, dueBefore) =>
    manager.query<RecoveryRow[]>(`${FACTS} WHERE p.project_id = $2 AND p.instance_id = ANY($3)`, [dueBefore, scope.projectId, instanceIds.filter((id) => reaches(scope, id))]),
  async ofPolicy(policyId, dueBefore) {
    const [row] = await manager.query<RecoveryRow[]>(`${FACTS} WHERE p.id = $2`, [dueBefore, policyId]);
    return row ?? null;
  },
  promised: (afterPolicyId, dueBefore, limit) =>
    manager.query<RecoveryRow[]>(`${FACTS} WHERE (p.next_run_at IS NOT NULL OR p.late_since IS NOT NULL) AND p.id > $2 ORDER BY p.id LIMIT $3`, [dueBefore, afterPolicyId, limit]),
  async setLate(policyId, since) {
    await manager.query('UPDATE backup_policies SET late_since = $2 WHERE id = $1', [policyId, since]);
  },
  ages: () =>
    manager.query(
      `SELECT i.id, i.name, extract(epoch FROM clock_timestamp() - good.completed_at)::float8 AS seconds FROM instances i ${LAST_GOOD} WHERE i.removed_at IS NULL ORDER BY i.id`,
    ),
});
