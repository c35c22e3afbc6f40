import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { createDatabase } from '../../server/db/database.js';
import { openDataSource } from '../../server/db/data-source.js';
import { migrate } from '../../server/db/migrate.js';
import { engineGate } from '../../server/domain/capability.js';
import { makeId } from '../../server/domain/ids.js';
import { WEEKDAYS } from '../../server/domain/schedule.js';
import { type Log } from '../../server/engine/ports.js';
import { topicsOf } from '../../server/events/topics.js';
import { AgendaClock } from '../../server/jobs/agenda-clock.js';
import { POLICY_DUE } from '../../server/jobs/agenda-store.js';
import { createBackupStarter } from '../../server/services/backup-start.js';
import { createDispatcher, type Dispatcher } from '../../server/services/dispatch.service.js';
import { type Ids } from '../../server/services/ports.js';
import { createRecoveryWatch } from '../../server/services/recovery-watch.js';
import { scheduleTime } from '../../server/services/schedule-time.js';
import { createSlotPlanner } from '../../server/services/slots.js';
import { instance as anInstance, policy as aPolicy } from '../integration/graphql/records.js';

/** Nights that each policy has behind it: a slot, a job and a backup each. */
const NIGHTS = 7;
/** Tables that grow with the number of policies. */
const GROWING = ['instances', 'backup_policies', 'slots', 'jobs', 'backups', 'job_events', 'agenda_jobs'];

export interface SeqScan {
  table: string;
  statement: string;
}

/** A database with so many protected instances, each with its policy, its history and its row in Agenda; none is due. */
export interface PolicyCrowd {
  readonly dispatcher: Dispatcher;
  readonly watch: { look(): Promise<void> };
  /** Makes so many policies due, others each time; answers what is to be made of them. */
  makeDue(count: number): Promise<Due[]>;
  /** Fails unless exactly these runs were started, each once, and each policy has its next run. Then ends their jobs, as workers would. */
  settle(due: readonly Due[]): Promise<void>;
  /** Sequential scans of growing tables in the plans of every statement that `work` sends. */
  seqScans(work: () => Promise<unknown>): Promise<{ scans: SeqScan[]; statements: number }>;
  stop(): Promise<void>;
}

export interface Due {
  policyId: string;
  plannedAt: Date;
}

const quiet = (): void => undefined;
const SILENT: Log = { debug: quiet, info: quiet, warn: quiet, error: quiet };

export const startPolicyCrowd = async (databaseUrl: string, size: number): Promise<PolicyCrowd> => {
  await migrate(databaseUrl);
  const { source, close } = await openDataSource({ url: databaseUrl });
  const db = createDatabase(source, topicsOf);
  const agenda = await AgendaClock.open({ databaseUrl, name: `bench ${size}`, concurrency: 4, log: SILENT });
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  const sql = async <T extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []): Promise<T[]> => (await client.query<T>(text, [...values])).rows;
  await fill(size, db, sql);

  const ids: Ids = { make: (kind) => makeId(kind, new Date(), randomBytes(10)) };
  const time = scheduleTime(undefined);
  const catchUpMs = 6 * 3_600_000;
  const dispatcher = createDispatcher({ db, ids, time, queue: agenda, slots: createSlotPlanner({ ids, log: SILENT }), starter: createBackupStarter(ids, engineGate([])), catchUpMs });
  let turn = 0;

  return {
    dispatcher,
    watch: createRecoveryWatch({ db, time, catchUpMs, log: SILENT }),
    async makeDue(count) {
      const rows = await sql<{ id: string; next_run_at: Date }>(
        `WITH chosen AS (SELECT id FROM backup_policies ORDER BY id OFFSET $1 LIMIT $2)
         UPDATE backup_policies p SET next_run_at = date_trunc('second', clock_timestamp()) - interval '1 second' FROM chosen WHERE p.id = chosen.id RETURNING p.id, p.next_run_at`,
        // Spread over the table, so that they share no page.
        [(turn * count) % size, count],
      );
      turn += 1;
      return rows.map(({ id, next_run_at: plannedAt }) => ({ policyId: id, plannedAt }));
    },
    async settle(due) {
      const made = await sql<{ policy_id: string; planned_at: Date }>(
        `SELECT s.policy_id, s.planned_at FROM slots s JOIN jobs j ON j.id = s.job_id AND j.state = 'QUEUED' JOIN backups b ON b.job_id = j.id AND b.state = 'CREATING'
           JOIN agenda_jobs a ON a.data ->> 'subject' = j.id JOIN backup_policies p ON p.id = s.policy_id AND p.next_run_at > clock_timestamp()
         WHERE s.state = 'STARTED' AND s.started_by = 'NET'`,
      );
      const sorted = (runs: readonly Due[]): string => runs.map(({ policyId, plannedAt }) => `${policyId} ${plannedAt.toISOString()}`).sort().join('\n');
      const [wanted, found] = [sorted(due), sorted(made.map(({ policy_id: policyId, planned_at: plannedAt }) => ({ policyId, plannedAt })))];
      if (wanted !== found) throw new Error(`Of ${size} policies these were to be started:\n${wanted}\nand these were:\n${found}`);
      await sql(`UPDATE backups SET state = 'AVAILABLE', completed_at = clock_timestamp() WHERE state = 'CREATING'`);
      await sql(`UPDATE jobs SET state = 'COMPLETED', conclusion = 'SUCCEEDED', completed_at = clock_timestamp() WHERE state <> 'COMPLETED'`);
      await sql(`DELETE FROM agenda_jobs WHERE name <> $1`, [POLICY_DUE]);
    },
    async seqScans(work) {
      const sent = new Map<string, unknown[]>();
      const original = pg.Client.prototype.query as (...given: unknown[]) => unknown;
      const prototype = pg.Client.prototype as unknown as { query: typeof original };
      prototype.query = function (this: pg.Client, ...given: unknown[]) {
        const [first, second] = given;
        const { text = first, values = second } = typeof first === 'object' && first !== null ? (first as { text?: unknown; values?: unknown }) : {};
        if (typeof text === 'string' && /^\s*(SELECT|WITH|INSERT|UPDATE|DELETE)/i.test(text)) sent.set(text, Array.isArray(values) ? [...(values as unknown[])] : []);
        return Reflect.apply(original, this, given);
      };
      try {
        await work();
      } finally {
        prototype.query = original;
      }
      const scans: SeqScan[] = [];
      for (const [statement, values] of sent) {
        const rows = await sql<{ 'QUERY PLAN': unknown }>(`EXPLAIN (FORMAT JSON) ${statement}`, values);
        const scanned = [...JSON.stringify(rows).matchAll(/"Node Type":"Seq Scan"[^{}]*?"Relation Name":"(\w+)"/g)].map(([, table = '']) => table);
        scans.push(...scanned.filter((table) => GROWING.includes(table)).map((table) => ({ table, statement })));
      }
      return { scans, statements: sent.size };
    },
    async stop() {
      await agenda.stop();
      await client.end();
      await close();
    },
  };
};

/** Copies one row of each table, all columns but those that differ. */
const fill = async (size: number, db: ReturnType<typeof createDatabase>, sql: <T extends pg.QueryResultRow>(text: string, values?: readonly unknown[]) => Promise<T[]>): Promise<void> => {
  const projectId = makeId('project', new Date(), randomBytes(10));
  await db.read.projects.insert({ id: projectId, name: 'crowd', createdAt: new Date() });
  const instance = anInstance({ projectId });
  // Far from now: no planned instant of its own comes while this runs.
  const startTime = new Date(Date.now() + 8 * 3_600_000).toISOString().slice(11, 16);
  const policy = { ...aPolicy(instance.id), projectId, weekdays: WEEKDAYS, startTime, timeZone: 'UTC' };
  const [jobId, backupId, slotId] = [makeId('job', new Date(), randomBytes(10)), makeId('backup', new Date(), randomBytes(10)), makeId('slot', new Date(), randomBytes(10))];
  await db.transaction(async (tx) => {
    await tx.instances.insert(instance, null);
    await tx.policies.insert(policy);
    await tx.jobs.insert({ id: jobId, projectId, kind: 'BACKUP', createdAt: new Date(), instanceId: instance.id, backupId, restoreId: null, serverRunId: 'of the model', cancellable: true, maxAttempts: 3 });
    await tx.backups.insert({ id: backupId, projectId, instanceId: instance.id, jobId, name: 'nightly', trigger: 'SCHEDULED', engine: 'REDIS', engineVersion: '7.0.15', coverage: { kind: 'INSTANCE' }, createdAt: new Date() });
    await tx.slots.insert({ id: slotId, projectId, policyId: policy.id, instanceId: instance.id, plannedAt: new Date(), weekday: null, state: 'STARTED', startedBy: 'AGENDA_JOB', jobId, reason: null });
  });
  const copy = async (table: string, id: string, nights: number, changes: Readonly<Record<string, string>>): Promise<void> => {
    const columns = (await sql<{ column_name: string }>(
      `SELECT column_name FROM information_schema.columns WHERE table_name = $1 AND table_schema = 'public' AND is_generated = 'NEVER' AND is_identity = 'NO'`, [table],
    )).map(({ column_name: name }) => name);
    await sql(
      `INSERT INTO ${table} (${columns.map((name) => `"${name}"`).join(', ')}) SELECT ${columns.map((name) => changes[name] ?? `m."${name}"`).join(', ')}
       FROM ${table} m, generate_series(1, ${size}) g, generate_series(1, ${nights}) night WHERE m.id = $1`, [id],
    );
    await sql(`DELETE FROM ${table} WHERE id = $1`, [id]);
  };
  // Ids as random as they are in life, and the same in each table.
  const of = (prefix: string, by: string): string => `'${prefix}_' || left(md5(${by}), 26)`;
  const nightly = `g::text || ' ' || night`;
  const at = `date_trunc('milliseconds', clock_timestamp()) - night * interval '1 day' + g * interval '0.1 second'`;
  const instance_id = of('ins', 'g::text');
  await copy('slots', slotId, NIGHTS, { id: of('slt', nightly), policy_id: of('pol', 'g::text'), instance_id, job_id: of('job', nightly), planned_at: at });
  await copy('backups', backupId, NIGHTS, { id: of('bak', nightly), instance_id, job_id: of('job', nightly), state: `'AVAILABLE'`, created_at: at, completed_at: at });
  await sql('DELETE FROM job_events');
  await copy('jobs', jobId, NIGHTS, { id: of('job', nightly), instance_id, backup_id: of('bak', nightly), server_run_id: `md5(g::text || 'run')`, state: `'COMPLETED'`, conclusion: `'SUCCEEDED'`, created_at: at, completed_at: at });
  await copy('backup_policies', policy.id, 1, { id: of('pol', 'g::text'), instance_id, next_run_at: `date_trunc('second', clock_timestamp()) + interval '8 hours' + g * interval '0.3 second'` });
  await copy('instances', instance.id, 1, { id: instance_id, name: `'server ' || g`, port: '1 + g', run_id: `md5(g::text || 'run')`, server: `jsonb_set(m.server, '{runId}', to_jsonb(md5(g::text || 'run')))` });
  await sql(`INSERT INTO agenda_jobs (name, next_run_at, data) SELECT '${POLICY_DUE}', next_run_at, jsonb_build_object('subject', id) FROM backup_policies`);
  await sql('VACUUM ANALYZE');
};
