import { type VerificationLevel } from '../../domain/backup.js';
import { type JobConclusion, type JobFailure, type JobKind, type JobProgress, type JobState, type Phase, type PhaseRecord } from '../../domain/job.js';
import { type PageQuery, type PageResult, type Scope } from './scope.js';
import { type JobEventKind, type JobEventRecord, type JobFilter, type JobNoticeRecord, type JobRecord } from '../records.js';

export interface NewJob {
  id: string;
  projectId: string;
  kind: JobKind;
  createdAt: Date;
  instanceId: string | null;
  backupId: string | null;
  restoreId: string | null;
  /** The server that a BACKUP or RESTORE works on: the lock. */
  serverRunId: string | null;
  cancellable: boolean;
  maxAttempts: number;
  /** Of a VERIFY. */
  verificationLevel?: VerificationLevel | undefined;
}

export interface JobChange {
  state?: JobState;
  conclusion?: JobConclusion | null;
  phase?: Phase | null;
  phases?: readonly PhaseRecord[];
  progress?: JobProgress | null;
  failure?: JobFailure | null;
  startedAt?: Date;
  completedAt?: Date;
  cancelRequestedAt?: Date;
  cancellable?: boolean;
  backupId?: string;
}

export interface JobEventDraft {
  kind: JobEventKind;
  at: Date;
  notice?: JobNoticeRecord;
}

export interface JobRepository {
  get(scope: Scope, id: string): Promise<JobRecord | null>;
  getMany(scope: Scope, ids: readonly string[]): Promise<JobRecord[]>;
  runningByInstance(scope: Scope, instanceIds: readonly string[]): Promise<JobRecord[]>;
  list(scope: Scope, filter: JobFilter, page: PageQuery): Promise<PageResult<JobRecord>>;
  count(scope: Scope, filter: JobFilter): Promise<number>;
  /** Inserts the row and its first event. null when another unfinished job holds the server's lock. */
  insert(job: NewJob): Promise<JobRecord | null>;
  /** The unfinished backup or restore on a server, over all tenants. */
  runningOnServer(runId: string): Promise<JobRecord | null>;
  /**
   * Changes a job and appends the event that describes the change, in the caller's transaction; its notice is kept in the job's row too. With `fence`, only while that run still
   * owns the job. null when the condition does not hold: then nothing is changed.
   */
  change(id: string, expected: { fence?: number; states?: readonly JobState[]; cancellable?: true; uncancelled?: true; neverRun?: true }, change: JobChange, event: JobEventDraft): Promise<JobRecord | null>;
}

/** An event as it is kept; `position` is its place in the feed of all projects. */
export interface JobEventRow extends Omit<JobEventRecord, 'cursor'> {
  position: string;
}

export interface JobEventRepository {
  /**
   * Appends an event in the transaction of the change it describes, and announces it to `topics` at the commit. Appending holds one lock
   * for all nodes until the commit: a transaction that has appended is short, and waits for no lock that another may hold who appends.
   * Progress that has been superseded goes: of a running job at most one PROGRESS event is kept, of an ended one none.
   */
  append(job: JobRecord, event: JobEventDraft, topics: readonly string[]): Promise<void>;
  ofJob(scope: Scope, jobId: string, afterSequence: number, limit: number): Promise<JobEventRow[]>;
  ofProject(scope: Scope, filter: JobFilter, afterPosition: string, limit: number): Promise<JobEventRow[]>;
  /** Of the project's newest event, or of a job's; `0` when there is none. */
  lastPosition(scope: Scope, jobId?: string): Promise<string>;
  /** What is newer than a position in the feeds of these projects, for the reader of a node: whom to show it, that one judges. */
  since(projectIds: readonly string[], afterPosition: string, limit: number): Promise<JobEventRow[]>;
  /** Of the newest event of all projects; `0` when there is none. */
  newestPosition(): Promise<string>;
  /** Removes events that are older than 30 days, and notes how far. */
  forgetOld(limit: number): Promise<void>;
  /** Up to where events may have been removed for their age; `0` when none was. */
  forgottenTo(): Promise<string>;
}

/** A job as the run that owns it sees it. */
export interface ClaimedJob {
  job: JobRecord;
  fence: number;
  /** The server whose lock the job holds. */
  serverRunId: string | null;
  maxAttempts: number;
}

export interface Claim {
  worker: string;
  leaseMs: number;
  /** Most jobs that may run on all nodes together; null: no limit. */
  limit: number | null;
  at: Date;
}

export interface GivenBack {
  /** Nobody takes it before. */
  waitMs: number;
  /** Whether the attempt counts against those that the job has. */
  counts: boolean;
}

/** Who works on what: leases by the database's clock, and a fence that grows with each run. Over all tenants. */
export interface RunRepository {
  /**
   * QUEUED and not to be waited for → RUNNING, with its event. null: somebody else has it, it is over, or as many run as may; then it
   * stays QUEUED, and whoever ends a run looks for it. Comes first in its transaction.
   */
  claim(jobId: string, claim: Claim): Promise<ClaimedJob | null>;
  /** null: the lease is lost. */
  renew(jobId: string, fence: number, leaseMs: number): Promise<{ cancelRequested: boolean } | null>;
  /** Whether that run still owns the job. */
  owns(jobId: string, fence: number): Promise<boolean>;
  /** As `owns`, and nobody can take the job over until the transaction ends. */
  hold(jobId: string, fence: number): Promise<boolean>;
  /** Moves the job's lock to another server, after its restart say; false: that one is busy, or the lease is lost. A statement of its own, not for transactions. */
  bindServer(jobId: string, fence: number, runId: string): Promise<boolean>;
  /** Gives a run's job back to the queue, with its event; false: the lease is lost. */
  giveBack(jobId: string, fence: number, given: GivenBack, at: Date): Promise<boolean>;
  /** RUNNING jobs whose lease is over, with the fences of their dead runs. */
  expired(limit: number): Promise<{ id: string; fence: number; attempt: number }[]>;
  /** As `giveBack`, for a run whose lease is over. */
  takeBack(jobId: string, fence: number, waitMs: number, at: Date): Promise<boolean>;
  /** QUEUED jobs that may run, and for how long already. */
  waiting(limit: number): Promise<{ id: string; forMs: number }[]>;
}

/** Wakes workers; called after the commit. Losing a call is harmless: the reconcile pass finds the row. */
export interface WorkQueue {
  enqueueJob(jobId: string): Promise<void>;
  /** Replaces the policy's pending wake-up; null removes it. */
  schedulePolicy(policyId: string, at: Date | null): Promise<void>;
}

/**
 * Job events since a place, and then as they come; nothing twice and nothing missing but progress, of which the newest of a job is given, at most four
 * times a second. Whoever reads the same at the same time is given the same objects. A reader that takes nothing for too long gets TOO_SLOW.
 */
export interface EventFeed {
  /** How a job stands, as a SNAPSHOT; null when there is none in the scope. */
  standing(scope: Scope, jobId: string): Promise<Standing | null>;
  job(scope: Scope, jobId: string, afterSequence: number): AsyncIterableIterator<JobEventRecord>;
  /** The cursor after which everything comes that a reading, begun from now on, does not show. */
  now(scope: Scope): Promise<string>;
  /**
   * @param cursor null: from now on
   * @throws DomainError BAD_INPUT for a cursor that is older than what is kept
   */
  project(scope: Scope, filter: JobFilter, cursor: string | null): Promise<AsyncIterableIterator<JobEventRecord>>;
}

export interface Standing {
  snapshot: JobEventRecord;
  /** Whether events of it are kept; those of jobs that ended long ago are not. */
  hasEvents: boolean;
}
