import { type EntityManager } from 'typeorm';
import { richJson } from '../db/json.js';
import { type JobEventDraft } from '../services/ports.js';
import { type JobRecord } from '../services/records.js';

/** Channel on which other nodes are told of new events; the payload is the topics, separated by blanks. */
export const EVENTS_CHANNEL = 'snapback_events';

/** Topic of a job's changes of state only, such as a request to cancel it: what its own progress does not touch. */
export const stateTopic = (jobId: string): string => `${jobId}!`;

/** Held from before a position is drawn until the commit: positions become visible in their order, so "after this cursor" skips none. */
const FEED_LOCK = 5_277_632_002;

/**
 * Appends an event in the transaction of the change it describes, and announces it at the commit. Progress that has been superseded goes:
 * of a running job at most one PROGRESS event is kept, of an ended one none.
 */
export const appendJobEvent = async (manager: EntityManager, job: JobRecord, event: JobEventDraft): Promise<void> => {
  await manager.query('SELECT pg_advisory_xact_lock($1)', [FEED_LOCK]);
  await manager.query(
    `WITH superseded AS (DELETE FROM job_events WHERE job_id = $1 AND kind = 'PROGRESS'),
          appended AS (
            INSERT INTO job_events (position, job_id, project_id, instance_id, sequence, kind, job_kind, job_state, at, job, notice)
            VALUES (nextval('job_event_position'), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10))
     SELECT pg_notify('${EVENTS_CHANNEL}', $11)`,
    [
      job.id, job.projectId, job.instanceId, job.sequence, event.kind, job.kind, job.state, event.at, JSON.stringify(richJson.to(job)),
      event.notice ? JSON.stringify(event.notice) : null, [job.projectId, job.id, ...(event.kind === 'STATE' ? [stateTopic(job.id)] : [])].join(' '),
    ],
  );
};
