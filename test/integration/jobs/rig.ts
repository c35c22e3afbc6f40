import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { type DataSource } from 'typeorm';
import { createDatabase } from '../../../server/db/database.js';
import { createDataSource } from '../../../server/db/data-source.js';
import { EVENTS_CHANNEL } from '../../../server/db/repositories/job-event.repository.js';
import { type Phase } from '../../../server/domain/job.js';
import { makeId, type IdKind } from '../../../server/domain/ids.js';
import { type Principal } from '../../../server/domain/principal.js';
import { type Clock, type Log } from '../../../server/engine/ports.js';
import { createEventFeed } from '../../../server/events/feed.js';
import { createEventHub, type EventHub } from '../../../server/events/hub.js';
import { stateTopic, topicsOf } from '../../../server/events/topics.js';
import { createRunner, type Runner, type RunnerDeps } from '../../../server/jobs/runner.js';
import { type Task, type TaskContext } from '../../../server/jobs/task.js';
import { type Database, type EventFeed, type NewJob } from '../../../server/services/ports.js';
import { type JobRecord } from '../../../server/services/records.js';
import { createTestDatabase } from '../../kit/postgres.js';
import { waitFor } from '../../kit/wait.js';

export const clock: Clock = { now: () => new Date() };
export const newId = (kind: IdKind, at = new Date()): string => makeId(kind, at, randomBytes(10));

export interface Row {
  sequence: number;
  kind: string;
  job_state: string;
  phase: Phase | null;
  at: Date;
}

/** A database of its own with the real repositories and the real event hub; no service. */
export interface Rig {
  url: string;
  source: DataSource;
  db: Database;
  hub: EventHub;
  feed: EventFeed;
  caller: Principal;
  /** What was logged. */
  logged: string[];
  log: Log;
  insertJob(job?: Partial<NewJob>): Promise<JobRecord>;
  job(id: string): Promise<JobRecord>;
  events(jobId: string): Promise<Row[]>;
  sql<T>(text: string, parameters?: unknown[]): Promise<T[]>;
  /** Ends the lease of a running job now, as if its worker had been stopped for long. */
  expire(jobId: string): Promise<void>;
  runner(task: Task, options?: Partial<RunnerDeps>): Runner;
  /** Cuts all connections of all parts but the rig's own observer. Returns how many there were. */
  cutConnections(): Promise<number>;
  stop(): Promise<void>;
}

export const startRig = async (): Promise<Rig> => {
  const database = await createTestDatabase();
  const logged: string[] = [];
  const write = (message: string, fields?: Record<string, unknown>): void => void logged.push(`${message} ${JSON.stringify(fields ?? {})}`);
  const log: Log = { debug: write, info: write, warn: write, error: write };
  const source = createDataSource({ url: database.url, poolSize: 30, onPoolError: (error) => write('pool', { error: error.message }) });
  await source.initialize();
  const db = createDatabase(source, topicsOf);
  const hub = createEventHub({ url: database.url, channel: EVENTS_CHANNEL, log });
  await hub.start();
  const observer = new Client({ connectionString: database.url });
  observer.on('error', () => undefined);
  await observer.connect();
  const projectId = newId('project');
  await db.read.projects.insert({ id: projectId, name: projectId, createdAt: new Date() });
  const rig: Rig = {
    url: database.url, source, db, hub, logged, log,
    feed: createEventFeed({ events: db.read.events, jobs: db.read.jobs, hub, clock, mayPass: (error) => db.isTransient(error) }),
    caller: { credential: 'API_KEY', keyId: newId('apiKey'), name: 'rig', projectId, role: 'ADMIN', serviceWide: false, instanceIds: null, expiresAt: null },
    async insertJob(job = {}) {
      const inserted = await db.transaction((tx) =>
        tx.jobs.insert({
          id: newId('job'), projectId, kind: 'BACKUP', createdAt: new Date(), instanceId: null, backupId: null, restoreId: null,
          serverRunId: randomBytes(20).toString('hex'), cancellable: true, maxAttempts: 3, ...job,
        }),
      );
      if (!inserted) throw new Error('The server is busy');
      return inserted;
    },
    async job(id) {
      const job = await db.read.jobs.get({ projectId }, id);
      if (!job) throw new Error(`No job ${id}`);
      return job;
    },
    events: (jobId) => rig.sql<Row>(`SELECT sequence, kind, job_state, job ->> 'phase' AS phase, at FROM job_events WHERE job_id = $1 ORDER BY position`, [jobId]),
    sql: async <T>(text: string, parameters: unknown[] = []) => (await observer.query(text, parameters)).rows as T[],
    expire: async (jobId) => void (await rig.sql(`UPDATE jobs SET lease_until = clock_timestamp() - interval '1 second' WHERE id = $1`, [jobId])),
    runner: (task, options = {}) =>
      createRunner({
        db, clock, log, worker: `worker-${randomBytes(3).toString('hex')}`, tasks: { BACKUP: task }, lease: { lifeMs: 60_000, renewMs: 1_000 },
        requeue: () => Promise.resolve(), onJobEvent: (jobId, wake) => hub.onEvent(stateTopic(jobId), wake), ...options,
      }),
    async cutConnections() {
      const cut = await rig.sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`);
      return cut.length;
    },
    async stop() {
      await hub.stop();
      await source.destroy();
      await observer.end();
      await database.drop();
    },
  };
  return rig;
};

/** A task that runs as the test tells it to. */
export const taskOf = (run: (context: TaskContext) => Promise<unknown>, ended: string[] = []): Task => ({
  async run(context) {
    await run(context);
    return () => {
      ended.push('finish');
      return Promise.resolve();
    };
  },
  fail: (_job, error, cancelled) => () => {
    ended.push(`fail ${error.code}${cancelled ? ' cancelled' : ''}`);
    return Promise.resolve();
  },
});

/** Opened from outside; a task waits at it, and rejects with the signal's reason when that is aborted first. */
export const gate = () => {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  let arrivals = 0;
  return {
    open,
    /** Resolves when somebody waits here. */
    reached: (count = 1) => waitFor(() => arrivals >= count, { message: 'a task to reach the gate' }),
    pass: (signal?: AbortSignal) => {
      arrivals += 1;
      return signal
        ? Promise.race([opened, new Promise<never>((_resolve, reject) => {
            if (signal.aborted) reject(signal.reason as Error);
            signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
          })])
        : opened;
    },
  };
};

export const expectWholeHistory = (rows: readonly Row[]): void => {
  const sequences = rows.map(({ sequence }) => sequence);
  if (new Set(sequences).size !== sequences.length) throw new Error(`Events were doubled: ${sequences.join(' ')}`);
  if (sequences.some((sequence, index) => index > 0 && sequence <= (sequences[index - 1] ?? 0))) throw new Error(`Events are out of order: ${sequences.join(' ')}`);
};
