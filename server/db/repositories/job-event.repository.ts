import { type EntityManager, type SelectQueryBuilder } from 'typeorm';
import { type JobEventRepository, type JobEventRow } from '../../services/ports.js';
import { JobEventEntity } from '../entities/job-event.entity.js';
import { richJson } from '../json.js';
import { instancesOf, within } from './scoped.js';

/** Channel on which every node is told of new events; the payload is the topics, separated by blanks. */
export const EVENTS_CHANNEL = 'snapback_events';

/** Held from before a position is drawn until the commit: positions become visible in their order, so "after this cursor" skips none. */
const FEED_LOCK = 5_277_632_002;

/** Events from before 0.2 have no notices in their jobs. */
const toRow = ({ position, sequence, kind, at, job, notice }: JobEventEntity): JobEventRow => ({ position, sequence, kind, at, job: { ...job, notices: job.notices ?? [] }, notice });

const KEPT = "interval '30 days'";
/** The setting that says up to where events were removed for their age. */
const FORGOTTEN = 'job-events-forgotten-to';

export const createJobEventRepository = (manager: EntityManager): JobEventRepository => {
  const select = (): SelectQueryBuilder<JobEventEntity> => manager.createQueryBuilder(JobEventEntity, 'e');
  return {
    async append(job, event, topics) {
      await manager.query(
        `WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock(${String(FEED_LOCK)})),
              superseded AS (DELETE FROM job_events WHERE job_id = $1 AND kind = 'PROGRESS'),
              appended AS (
                INSERT INTO job_events (position, job_id, project_id, instance_id, sequence, kind, job_kind, job_state, at, job, notice)
                SELECT nextval('job_event_position'), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 FROM turn)
         SELECT pg_notify('${EVENTS_CHANNEL}', $11)`,
        [
          job.id, job.projectId, job.instanceId, job.sequence, event.kind, job.kind, job.state, event.at, JSON.stringify(richJson.to(job)),
          event.notice ? JSON.stringify(richJson.to(event.notice)) : null, topics.join(' '),
        ],
      );
    },
    async ofJob(scope, jobId, afterSequence, limit) {
      const events = await within(select().where('e.jobId = :jobId AND e.sequence > :afterSequence', { jobId, afterSequence }), scope, 'e.instanceId')
        .orderBy('e.sequence')
        .limit(limit)
        .getMany();
      return events.map(toRow);
    },
    async ofProject(scope, filter, afterPosition, limit) {
      const query = within(select().where('e.position > :afterPosition', { afterPosition }), scope, 'e.instanceId');
      if (filter.instanceIds) query.andWhere('e.instanceId = ANY(:instanceIds)', { instanceIds: filter.instanceIds });
      if (filter.kinds) query.andWhere('e.jobKind = ANY(:kinds)', { kinds: filter.kinds });
      if (filter.states) query.andWhere('e.jobState = ANY(:states)', { states: filter.states });
      return (await query.orderBy('e.position').limit(limit).getMany()).map(toRow);
    },
    async lastPosition(scope, jobId) {
      const { projectId } = scope;
      const [row]: { position: string | null }[] = await manager.query(
        `SELECT max(position) AS position FROM job_events WHERE project_id = $1${jobId === undefined ? '' : ' AND job_id = $2 AND ($3::text[] IS NULL OR instance_id = ANY($3))'}`,
        jobId === undefined ? [projectId] : [projectId, jobId, instancesOf(scope)],
      );
      return row?.position ?? '0';
    },
    async since(projectIds, afterPosition, limit) {
      const events = await select().where('e.projectId = ANY(:projectIds) AND e.position > :afterPosition', { projectIds, afterPosition }).orderBy('e.position').limit(limit).getMany();
      return events.map(toRow);
    },
    async newestPosition() {
      const [row]: { position: string | null }[] = await manager.query('SELECT max(position) AS position FROM job_events');
      return row?.position ?? '0';
    },
    async forgetOld(limit) {
      // Positions are as old as the events: whether there is anything to remove, the first of them say.
      await manager.query(
        `WITH first AS (SELECT position, at FROM job_events ORDER BY position LIMIT $1),
              gone AS (DELETE FROM job_events WHERE position IN (SELECT position FROM first WHERE at < clock_timestamp() - ${KEPT}) RETURNING position)
         INSERT INTO service_settings (name, value) SELECT '${FORGOTTEN}', max(position)::text FROM gone HAVING count(*) > 0
         ON CONFLICT (name) DO UPDATE SET value = greatest(service_settings.value::bigint, excluded.value::bigint)::text`,
        [limit],
      );
    },
    async forgottenTo() {
      const [row]: { value: string }[] = await manager.query('SELECT value FROM service_settings WHERE name = $1', [FORGOTTEN]);
      return row?.value ?? '0';
    },
  };
};
