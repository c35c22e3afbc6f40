import { randomBytes } from 'node:crypto';
import { type EntityManager, type SelectQueryBuilder } from 'typeorm';
import { makeId } from '../../domain/ids.js';
import { type AuditRepository, type ChainEnd, type Scope } from '../../services/ports.js';
import { type AuditFilter } from '../../services/records.js';
import { AuditCheckpointEntity, AuditEventEntity } from '../entities/audit-event.entity.js';
import { countUpTo, fetchPage } from './page.js';

interface EndRow {
  projectId: string;
  sequence: string;
  hash: Buffer;
}

const toEnd = ({ sequence, ...row }: EndRow): ChainEnd => ({ ...row, sequence: BigInt(sequence) });

export const createAuditRepository = (manager: EntityManager): AuditRepository => {
  const filtered = ({ projectId }: Scope, filter: AuditFilter): SelectQueryBuilder<AuditEventEntity> => {
    const query = manager.createQueryBuilder(AuditEventEntity, 'a').where('a.projectId = :projectId', { projectId });
    if (filter.actions) query.andWhere('a.action = ANY(:actions)', { actions: filter.actions });
    if (filter.outcomes) query.andWhere('a.outcome = ANY(:outcomes)', { outcomes: filter.outcomes });
    if (filter.actorId != null) query.andWhere('a.actorId = :actorId', { actorId: filter.actorId });
    if (filter.objectId != null) query.andWhere('a.objectId = :objectId', { objectId: filter.objectId });
    if (filter.instanceId != null) query.andWhere('a.instanceId = :instanceId', { instanceId: filter.instanceId });
    if (filter.createdFrom) query.andWhere('a.createdAt >= :createdFrom', { createdFrom: filter.createdFrom });
    if (filter.createdBefore) query.andWhere('a.createdAt < :createdBefore', { createdBefore: filter.createdBefore });
    return query;
  };
  return {
    makeId: (at) => makeId('auditEvent', at, randomBytes(10)),
    async lockEnd({ projectId }) {
      await manager.query(`INSERT INTO audit_ends (project_id, sequence, hash) VALUES ($1, 0, decode(repeat('00', 32), 'hex')) ON CONFLICT (project_id) DO NOTHING`, [projectId]);
      const [row]: EndRow[] = await manager.query('SELECT project_id AS "projectId", sequence, hash FROM audit_ends WHERE project_id = $1 FOR UPDATE', [projectId]);
      if (!row) throw new Error(`The chain of ${projectId} has no end`);
      return toEnd(row);
    },
    async append(event) {
      await manager.insert(AuditEventEntity, { ...event, details: { ...event.details } });
      await manager.query('UPDATE audit_ends SET sequence = $2, hash = $3 WHERE project_id = $1', [event.projectId, String(event.sequence), event.hash]);
    },
    get: ({ projectId }, id) => manager.findOneBy(AuditEventEntity, { projectId, id }),
    list: (scope, filter, page) => fetchPage(filtered(scope, filter), page, (event) => event),
    count: (scope, filter) => countUpTo(filtered(scope, filter)),
    async ends({ unsigned }) {
      const rows: EndRow[] = await manager.query(
        `SELECT project_id AS "projectId", sequence, hash FROM audit_ends e
         WHERE sequence > 0 AND NOT ($1 AND EXISTS (SELECT 1 FROM audit_checkpoints c WHERE c.project_id = e.project_id AND c.sequence = e.sequence)) ORDER BY project_id`,
        [unsigned],
      );
      return rows.map(toEnd);
    },
    async addCheckpoint(checkpoint) {
      await manager.createQueryBuilder().insert().into(AuditCheckpointEntity).values(checkpoint).orIgnore().execute();
    },
    chain: ({ projectId }, afterSequence, limit) =>
      manager.createQueryBuilder(AuditEventEntity, 'a').where('a.projectId = :projectId AND a.sequence > :after', { projectId, after: String(afterSequence) }).orderBy('a.sequence').limit(limit).getMany(),
    checkpoints: ({ projectId }) => manager.find(AuditCheckpointEntity, { where: { projectId }, order: { sequence: 'ASC' } }),
  };
};
