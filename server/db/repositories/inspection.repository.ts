import { type EntityManager } from 'typeorm';
import { type InspectionPart, type InspectionRepository, type InspectionRow, type Scope } from '../../services/ports.js';
import { instancesOf } from './scoped.js';

/** Removes inspections and all their parts. @param where on `inspections i` */
const removeWhere = async (manager: EntityManager, where: string, parameters: readonly unknown[]): Promise<void> => {
  await manager.query(
    `WITH gone AS (DELETE FROM inspections i WHERE ${where} RETURNING i.job_id)
     DELETE FROM inspection_parts p USING gone WHERE p.job_id = gone.job_id`,
    [...parameters],
  );
};

/** On `inspections i`; $3 is the instances that the caller is limited to. */
const REACHED = `AND ($3::text[] IS NULL OR EXISTS (SELECT 1 FROM backups o WHERE o.id = i.backup_id AND o.instance_id = ANY($3)))`;

/** All inspections of a backup, finished or not. */
export const removeInspectionsOf = (manager: EntityManager, { projectId }: Scope, backupId: string): Promise<void> =>
  removeWhere(manager, 'i.project_id = $1 AND i.backup_id = $2', [projectId, backupId]);

export const createInspectionRepository = (manager: EntityManager): InspectionRepository => {
  const query = <T>(sql: string, parameters: readonly unknown[]): Promise<T[]> => manager.query(sql, [...parameters]);
  const put = (scope: Scope, { jobId, name, sealed, fromOffset }: InspectionPart & { fromOffset: number | null }): Promise<unknown> =>
    query(
      `INSERT INTO inspection_parts (job_id, name, from_offset, sealed) SELECT job_id, $3, $4, $5 FROM inspections WHERE project_id = $1 AND job_id = $2
       ON CONFLICT (job_id, name) DO UPDATE SET from_offset = excluded.from_offset, sealed = excluded.sealed`,
      [scope.projectId, jobId, name, fromOffset, sealed],
    );
  return {
    async insert(scope, { jobId, backupId, request }) {
      await query('INSERT INTO inspections (job_id, project_id, backup_id) VALUES ($1, $2, $3)', [jobId, scope.projectId, backupId]);
      await put(scope, { jobId, name: 'request', fromOffset: null, sealed: request });
    },
    async request({ projectId }, jobId) {
      const [row] = await query<{ sealed: Buffer }>(
        `SELECT p.sealed FROM inspections i JOIN inspection_parts p ON p.job_id = i.job_id AND p.name = 'request' WHERE i.project_id = $1 AND i.job_id = $2`, [projectId, jobId],
      );
      return row?.sealed ?? null;
    },
    async dropKeys({ projectId }, jobId) {
      await query(
        `DELETE FROM inspection_parts p USING inspections i WHERE i.project_id = $1 AND i.job_id = $2 AND p.job_id = i.job_id AND p.from_offset IS NOT NULL`, [projectId, jobId],
      );
    },
    async putKeys(scope, part) {
      await put(scope, part);
    },
    async complete(scope, { jobId, backupId, summary, at }) {
      await put(scope, { jobId, name: 'summary', fromOffset: null, sealed: summary });
      await query('UPDATE inspections SET inspected_at = $3 WHERE project_id = $1 AND job_id = $2', [scope.projectId, jobId, at]);
      await removeWhere(
        manager, `i.project_id = $1 AND i.backup_id = $2 AND i.job_id <> $3 AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = i.job_id AND j.state <> 'COMPLETED')`,
        [scope.projectId, backupId, jobId],
      );
    },
    remove: ({ projectId }, jobId) => removeWhere(manager, 'i.project_id = $1 AND i.job_id = $2', [projectId, jobId]),
    latestByBackup: (scope, backupIds) =>
      query<InspectionRow>(
        `SELECT DISTINCT ON (i.backup_id) i.project_id AS "projectId", i.backup_id AS "backupId", i.job_id AS "jobId", i.inspected_at AS "inspectedAt", r.sealed AS request, s.sealed AS summary
         FROM inspections i
         JOIN inspection_parts r ON r.job_id = i.job_id AND r.name = 'request'
         JOIN inspection_parts s ON s.job_id = i.job_id AND s.name = 'summary'
         WHERE i.project_id = $1 AND i.backup_id = ANY($2) AND i.inspected_at IS NOT NULL ${REACHED} ORDER BY i.backup_id, i.inspected_at DESC, i.job_id DESC`,
        [scope.projectId, backupIds, instancesOf(scope)],
      ),
    keys: (scope, jobIds, fromOffset) =>
      query<InspectionPart>(
        `SELECT p.job_id AS "jobId", p.name, p.sealed FROM inspections i CROSS JOIN LATERAL (
           SELECT k.* FROM inspection_parts k WHERE k.job_id = i.job_id AND k.from_offset IS NOT NULL
             AND k.from_offset >= coalesce((SELECT max(b.from_offset) FROM inspection_parts b WHERE b.job_id = i.job_id AND b.from_offset <= $4), 0)
           ORDER BY k.from_offset LIMIT 2) p
         WHERE i.project_id = $1 AND i.job_id = ANY($2) ${REACHED} ORDER BY p.job_id, p.from_offset`,
        [scope.projectId, jobIds, instancesOf(scope), fromOffset],
      ),
    notUnder: (keyId, after, limit) =>
      // Bytes 2 to 9 of what is sealed name its master key.
      query<InspectionPart & Scope>(
        `SELECT i.project_id AS "projectId", p.job_id AS "jobId", p.name, p.sealed FROM inspection_parts p JOIN inspections i ON i.job_id = p.job_id
         WHERE substring(p.sealed FROM 2 FOR 8) <> convert_to($1, 'UTF8') AND (p.job_id, p.name) > ($2, $3) ORDER BY p.job_id, p.name LIMIT $4`,
        [keyId, after?.jobId ?? '', after?.name ?? '', limit],
      ),
    async reseal({ jobId, name, sealed: from }, to) {
      const [, affected]: [unknown, number] = await manager.query('UPDATE inspection_parts SET sealed = $4 WHERE job_id = $1 AND name = $2 AND sealed = $3', [jobId, name, from, to]);
      return affected === 1;
    },
  };
};
