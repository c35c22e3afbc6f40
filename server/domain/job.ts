import { type ErrorCode } from './errors.js';

export const JOB_KINDS = ['BACKUP', 'RESTORE', 'PLAN', 'VERIFY', 'INSPECT', 'DELETE'] as const;
export type JobKind = (typeof JOB_KINDS)[number];

export const JOB_STATES = ['QUEUED', 'RUNNING', 'COMPLETED'] as const;
export type JobState = (typeof JOB_STATES)[number];

export const JOB_CONCLUSIONS = ['SUCCEEDED', 'FAILED', 'CANCELLED', 'INTERRUPTED', 'TIMED_OUT'] as const;
export type JobConclusion = (typeof JOB_CONCLUSIONS)[number];

export const PHASES = ['PREPARING', 'SNAPSHOTTING', 'TRANSFERRING', 'VERIFYING', 'SEALING', 'LOADING', 'FINALIZING'] as const;
export type Phase = (typeof PHASES)[number];

/** States a job may move to. A RUNNING job goes back to QUEUED when its worker died and an attempt is left. */
export const JOB_TRANSITIONS: Readonly<Record<JobState, readonly JobState[]>> = {
  QUEUED: ['RUNNING', 'COMPLETED'],
  RUNNING: ['QUEUED', 'COMPLETED'],
  COMPLETED: [],
};

/** A phase as it was passed. A phase that is entered twice (the safety backup inside a restore) stands twice. */
export interface PhaseRecord {
  phase: Phase;
  startedAt: Date;
  endedAt: Date | null;
}

/**
 * How far a job is. Counts are for the running phase; `bytesTotal` and `keysTotal` are null while nobody can know them
 * (a diskless source does not say how much it will send). `bytesPerSecond` is a rate over the last few seconds.
 */
export interface JobProgress {
  bytesDone: bigint;
  bytesTotal: bigint | null;
  keysDone: bigint;
  keysTotal: bigint | null;
  bytesPerSecond: number | null;
  /** Seconds until the phase ends, an estimate. */
  remainingSeconds: number | null;
}

export interface JobFailure {
  code: ErrorCode;
  message: string;
  hint: string | null;
  retryable: boolean;
  /** From when on the same may work, where that is known. */
  retryAt?: Date | null | undefined;
  phase: Phase | null;
  at: Date;
}
