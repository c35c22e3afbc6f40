import { type JobEventDraft } from '../services/ports.js';
import { type JobRecord } from '../services/records.js';

/** Topic of a job's changes of state only, such as a request to cancel it: what its own progress does not touch. */
export const stateTopic = (jobId: string): string => `${jobId}!`;

/** Who is to be woken by an event: its project's feed, its job's followers, and with a change of state the job's worker. */
export const topicsOf = (job: JobRecord, event: JobEventDraft): string[] => [job.projectId, job.id, ...(event.kind === 'STATE' ? [stateTopic(job.id)] : [])];
