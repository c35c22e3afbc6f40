import { type EntityManager, In, type SelectQueryBuilder } from 'typeorm';
import { reaches } from '../../domain/principal.js';
import { type JobChange, type JobEventDraft, type JobRepository, type Scope } from '../../services/ports.js';
import { type JobFilter, type JobRecord } from '../../services/records.js';
import { JobEntity } from '../entities/job.entity.js';
import { richJson } from '../json.js';
import { returned } from '../returned.js';
import { countUpTo, fetchPage } from './page.js';
import { owned, within } from './scoped.js';

/** Appends an event and announces it, in the transaction of the change it describes. */
export type AppendEvent = (job: JobRecord, event: JobEventDraft) => Promise<void>;

/** Of which the row of a job keeps as many; its events have all. */
const MOST_NOTICES = 100;

/** Share of the work done, from bytes where their total is known, else from keys. */
export const fractionOf = ({ bytesDone, bytesTotal, keysDone, keysTotal }: NonNullable<JobEntity['progress']>): number | null => {
  const share = (done: bigint, total: bigint | null): number | null =>
    total === null || total === 0n ? null : Math.min(1, Number((done * 10_000n) / total) / 10_000);
  return share(bytesDone, bytesTotal) ?? share(keysDone, keysTotal);
};

export const toJobRecord = (entity: JobEntity): JobRecord => {
  const {
    maxAttempts: _maxAttempts, serverRunId: _serverRunId, fence: _fence, leaseUntil: _leaseUntil, worker: _worker, notBefore: _notBefore,
    progress, ...rest
  } = entity;
  return { ...rest, progress: progress ? { ...progress, fraction: fractionOf(progress) } : null };
};

const COLUMNS: Record<keyof JobChange, { column: string; json?: true }> = {
  state: { column: 'state' },
  conclusion: { column: 'conclusion' },
  phase: { column: 'phase' },
  phases: { column: 'phases', json: true },
  progress: { column: 'progress', json: true },
  failure: { column: 'failure', json: true },
  startedAt: { column: 'started_at' },
  completedAt: { column: 'completed_at' },
  cancelRequestedAt: { column: 'cancel_requested_at' },
  cancellable: { column: 'cancellable' },
  backupId: { column: 'backup_id' },
};

export const createJobRepository = (manager: EntityManager, append: AppendEvent): JobRepository => {
  const filtered = (scope: Scope, filter: JobFilter): SelectQueryBuilder<JobEntity> => {
    const query = within(manager.createQueryBuilder(JobEntity, 'j'), scope, 'j.instanceId');
    if (filter.instanceIds) query.andWhere('j.instanceId = ANY(:instanceIds)', { instanceIds: filter.instanceIds });
    if (filter.kinds) query.andWhere('j.kind = ANY(:kinds)', { kinds: filter.kinds });
    if (filter.states) query.andWhere('j.state = ANY(:states)', { states: filter.states });
    return query;
  };
  return {
    async get(scope, id) {
      const entity = await manager.findOneBy(JobEntity, { ...owned(scope), id });
      return entity ? toJobRecord(entity) : null;
    },
    getMany: async (scope, ids) => (await manager.findBy(JobEntity, { ...owned(scope), id: In([...ids]) })).map(toJobRecord),
    async runningByInstance(scope, instanceIds) {
      const entities = await manager.findBy(JobEntity, {
        projectId: scope.projectId, instanceId: In(instanceIds.filter((id) => reaches(scope, id))), state: In(['QUEUED', 'RUNNING']), kind: In(['BACKUP', 'RESTORE']),
      });
      return entities.map(toJobRecord);
    },
    list: (scope, filter, page) => fetchPage(filtered(scope, filter), page, toJobRecord),
    count: (scope, filter) => countUpTo(filtered(scope, filter)),
    async insert(job) {
      // The partial unique index is the server's lock; only its violation means busy, any other is a fault.
      const [inserted]: Record<string, unknown>[] = await manager.query(
        `INSERT INTO jobs (id, project_id, kind, state, phases, attempt, max_attempts, sequence, created_at, cancellable, instance_id, backup_id,
                           restore_id, server_run_id, verification_level, fence)
         VALUES ($1, $2, $3, 'QUEUED', '[]', 0, $4, 1, $5, $6, $7, $8, $9, $10, $11, 0)
         ON CONFLICT (server_run_id) WHERE "state" <> 'COMPLETED' AND "kind" IN ('BACKUP', 'RESTORE') DO NOTHING RETURNING *`,
        [job.id, job.projectId, job.kind, job.maxAttempts, job.createdAt, job.cancellable, job.instanceId, job.backupId, job.restoreId, job.serverRunId,
          job.verificationLevel ?? null],
      );
      if (!inserted) return null;
      const record = toJobRecord(returned(manager, JobEntity, inserted));
      await append(record, { kind: 'STATE', at: job.createdAt });
      return record;
    },
    async runningOnServer(runId) {
      const entity = await manager.findOneBy(JobEntity, { serverRunId: runId, state: In(['QUEUED', 'RUNNING']), kind: In(['BACKUP', 'RESTORE']) });
      return entity ? toJobRecord(entity) : null;
    },
    async change(id, expected, change, event) {
      const parameters: unknown[] = [id];
      const bind = (value: unknown): string => `$${parameters.push(value)}`;
      const sets = ['sequence = sequence + 1'];
      for (const [name, value] of Object.entries(change) as [keyof JobChange, unknown][]) {
        const { column, json } = COLUMNS[name];
        if (value !== undefined) sets.push(`${column} = ${bind(json && value !== null ? JSON.stringify(richJson.to(value)) : value)}`);
      }
      if (event.notice) {
        const kept = `${bind(JSON.stringify([richJson.to(event.notice)]))}::jsonb`;
        sets.push(`notices = CASE WHEN jsonb_array_length(notices) < ${MOST_NOTICES} THEN notices || ${kept} ELSE notices END`);
      }
      // A job that is over, or that goes back into the queue, belongs to nobody: a growing fence shuts out the run that had it.
      if (change.state === 'COMPLETED' || change.state === 'QUEUED') sets.push('lease_until = NULL', 'worker = NULL', 'fence = fence + 1');
      const where = ['id = $1'];
      if (expected.fence !== undefined) where.push(`state = 'RUNNING' AND fence = ${bind(expected.fence)} AND lease_until > clock_timestamp()`);
      if (expected.states) where.push(`state = ANY(${bind(expected.states)})`);
      if (expected.cancellable) where.push('cancellable');
      if (expected.neverRun) where.push('attempt = 0');
      if (expected.uncancelled) where.push('cancel_requested_at IS NULL');
      const [[row]]: [Record<string, unknown>[], number] = await manager.query(`UPDATE jobs SET ${sets.join(', ')} WHERE ${where.join(' AND ')} RETURNING *`, parameters);
      if (!row) return null;
      const record = toJobRecord(returned(manager, JobEntity, row));
      await append(record, event);
      return record;
    },
  };
};

