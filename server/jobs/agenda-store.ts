import { BaseNotificationChannel, type JobRepository, type NotificationChannel, toJobId } from 'agenda';

/** Agenda's job names. They stand in stored rows: renaming one orphans what is pending. */
export const RUN_JOB = 'run-job';
export const POLICY_DUE = 'policy-due';
export type Errand = typeof RUN_JOB | typeof POLICY_DUE;

/** The payload of every row: the id of the job or the policy. Unique per errand, by an index. */
export interface ErrandData {
  subject: string;
}

/**
 * The rows behind Agenda, with what Agenda lacks: writing a row so that exactly one is left under races, and in such a way that a
 * run which is still going on cannot overwrite it when it ends (Agenda then writes its whole in-memory state by row id: so a
 * replaced row always gets a new id).
 */
export interface AgendaStore {
  readonly name: string;
  readonly repository: JobRepository;
  /** Makes Agenda look for rows at once: those that other processes put too, where the server can tell of them. */
  readonly channel: NotificationChannel;
  /** Makes this process look for rows of an errand at once. */
  nudge(errand: Errand): void;
  /**
   * Leaves exactly one row for the subject. `at` null means now by the database's clock, and a row that already waits keeps its
   * place in the queue.
   */
  put(errand: Errand, subject: string, at: Date | null): Promise<void>;
  remove(errand: Errand, subject: string): Promise<void>;
  /** Rows that wait for their instant, soonest first. */
  list(errand: Errand): Promise<{ subject: string; at: Date }[]>;
  /** Of all rows, those included that are being delivered. */
  subjects(errand: Errand): Promise<string[]>;
  /** Unlocks every row that the process `owner` holds, so that others take it at once. */
  handBack(owner: string): Promise<void>;
  /** The database's clock. */
  now(): Promise<Date>;
  close(): Promise<void>;
}

/** What makes Agenda look for rows of an errand at once. */
export const wakeUp = (errand: Errand) => ({
  // Of a wake-up Agenda reads only the name and the instant; null means now.
  jobId: toJobId(''), jobName: errand, nextRunAt: null, priority: 0, timestamp: new Date(),
});

/** The channel of a store whose server tells nobody of new rows: other processes poll, this one is nudged. */
export class LocalChannel extends BaseNotificationChannel {
  connect(): Promise<void> {
    this.setState('connected');
    return Promise.resolve();
  }

  disconnect(): Promise<void> {
    this.handlers.clear();
    this.setState('disconnected');
    return Promise.resolve();
  }

  publish(): Promise<void> {
    return Promise.resolve();
  }

  nudge(errand: Errand): Promise<void> {
    return this.notifyHandlers(wakeUp(errand));
  }
}

/** How a store tells of trouble in the background, where no caller waits. */
export interface StoreEvents {
  trouble(what: string, error: unknown): void;
}
