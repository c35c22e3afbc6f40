import { type JobConclusion, type JobFailure, type JobKind, type JobState } from './job.js';

/** What an operator is told of without asking. The names are part of what is sent (server/README.md): never renamed. */
export const NOTICE_KINDS = ['JOB_FAILED', 'SLOT_MISSED', 'RECOVERY_LATE', 'RETENTION_STOPPED'] as const;
export type NoticeKind = (typeof NOTICE_KINDS)[number];

/** What a notice says besides its message. JSON as it is sent: times as text, no secrets. */
export type NoticeDetails = Readonly<Record<string, string | number | null>>;

/** Something that somebody should know of. Appended in the transaction of the change it tells of, so that neither is there without the other. */
export interface Notice {
  kind: NoticeKind;
  /** null: it concerns the whole service. */
  projectId: string | null;
  instanceId: string | null;
  at: Date;
  /** One sentence for a person. */
  message: string;
  details: NoticeDetails;
}

export interface EndedJob {
  id: string;
  projectId: string;
  kind: JobKind;
  state: JobState;
  conclusion: JobConclusion | null;
  failure: JobFailure | null;
  instanceId: string | null;
  backupId: string | null;
  restoreId: string | null;
}

const WORK: Readonly<Record<JobKind, string>> = {
  BACKUP: 'A backup', RESTORE: 'A restore', PLAN: 'A restore plan', VERIFY: 'A verification', INSPECT: 'An inspection', DELETE: 'A deletion',
};

/** What is told of a job that has come to this state, if anything: whatever ended without success, unless somebody wanted it to end. */
export const noticeOfJob = (job: EndedJob, at: Date): Notice | null => {
  if (job.state !== 'COMPLETED' || job.conclusion === 'SUCCEEDED' || job.conclusion === 'CANCELLED') return null;
  const { failure } = job;
  return {
    kind: 'JOB_FAILED', projectId: job.projectId, instanceId: job.instanceId, at,
    message: `${WORK[job.kind]} failed: ${failure?.message ?? 'no reason was given.'}`,
    details: {
      jobId: job.id, jobKind: job.kind, conclusion: job.conclusion, backupId: job.backupId, restoreId: job.restoreId,
      code: failure?.code ?? null, hint: failure?.hint ?? null,
    },
  };
};

export interface MissedSlot {
  id: string;
  projectId: string;
  policyId: string;
  instanceId: string;
  plannedAt: Date;
  reason: string | null;
}

/** What is told of the slots of one policy that were found to be missed together, oldest first: one notice, also after a long downtime. Null of none. */
export const noticeOfMissed = (missed: readonly MissedSlot[], at: Date): Notice | null => {
  const [first] = missed;
  const newest = missed.at(-1);
  if (!first || !newest) return null;
  return {
    kind: 'SLOT_MISSED', projectId: newest.projectId, instanceId: newest.instanceId, at,
    message: `${missed.length === 1 ? 'A planned backup was' : `${missed.length} planned backups were`} missed: ${newest.reason ?? 'no reason was given.'}`,
    details: {
      slotId: newest.id, policyId: newest.policyId, plannedAt: newest.plannedAt.toISOString(), reason: newest.reason,
      missedSlots: missed.length, firstPlannedAt: first.plannedAt.toISOString(),
    },
  };
};
