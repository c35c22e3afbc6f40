import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { createDatabase } from '../../server/db/database.js';
import { openDataSource } from '../../server/db/data-source.js';
import { makeId, type IdKind } from '../../server/domain/ids.js';
import { topicsOf } from '../../server/events/topics.js';
import { backup as aBackup, instance as anInstance } from '../integration/graphql/records.js';

const INSTANCES = 10_000;
/** Tables that are filled without their indexes, which are made anew over all rows. */
const FILLED = ['backups', 'jobs'];

const newId = (kind: IdKind): string => makeId(kind, new Date(), randomBytes(10));

/** Fills a migrated database: so many AVAILABLE backups of one project, each with its job, of 10,000 protected instances that are backed up night after night. */
export const fillWithBackups = async (databaseUrl: string, count: number): Promise<void> => {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  const sql = async <T extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []): Promise<T[]> => (await client.query<T>(text, [...values])).rows;
  const { source, close } = await openDataSource({ url: databaseUrl });
  try {
    const [project] = await sql<{ id: string }>(`SELECT id FROM projects WHERE name = 'default'`);
    if (!project) throw new Error('The database has no project yet');
    const db = createDatabase(source, topicsOf);
    const scope = { projectId: project.id };
    const instance = anInstance(scope);
    const [jobId, backupId] = [newId('job'), newId('backup')];
    const made = aBackup(instance.id, { ...scope, id: backupId, jobId });
    await db.transaction(async (tx) => {
      await tx.instances.insert(instance, null);
      await tx.jobs.insert({ ...scope, id: jobId, kind: 'BACKUP', createdAt: new Date(), instanceId: instance.id, backupId, restoreId: null, serverRunId: 'of the model', cancellable: true, maxAttempts: 3 });
      await tx.jobs.change(jobId, {}, {
        state: 'COMPLETED', conclusion: 'SUCCEEDED', completedAt: new Date(), startedAt: new Date(),
        phases: ['PREPARING', 'SNAPSHOTTING', 'TRANSFERRING', 'SEALING'].map((phase) => ({ phase: phase as 'SEALING', startedAt: new Date(), endedAt: new Date() })),
        progress: { bytesDone: 1_048_576n, bytesTotal: 1_048_576n, keysDone: 10_000n, keysTotal: 10_000n, bytesPerSecond: 1_048_576, remainingSeconds: 0 },
      }, { kind: 'STATE', at: new Date() });
      const { source: from, integrity, rdbVersion, sizeBytes, storedBytes, sha256, keys, expiringKeys, databases, types, functions, loadsOn, verifications, startedAt, completedAt, expiresAt } = made;
      await tx.backups.insert({ ...scope, id: backupId, instanceId: instance.id, jobId, name: 'nightly', trigger: 'SCHEDULED', engine: 'REDIS', engineVersion: '7.0.15', coverage: { kind: 'INSTANCE' }, createdAt: new Date() });
      await tx.backups.change(scope, backupId, ['CREATING'], {
        state: 'AVAILABLE', source: from, integrity, rdbVersion, sizeBytes, storedBytes, sha256, keys, expiringKeys, databases, types, functions, loadsOn, verifications, startedAt, completedAt, expiresAt,
      });
    });

    const indexes = await sql<{ name: string; definition: string }>(
      `SELECT indexname AS name, indexdef AS definition FROM pg_indexes WHERE schemaname = 'public' AND tablename = ANY($1) AND indexname NOT LIKE 'pk_%'`, [FILLED],
    );
    for (const { name } of indexes) await sql(`DROP INDEX "${name}"`);
    const copy = async (table: string, id: string, rows: number, changes: Readonly<Record<string, string>>): Promise<void> => {
      const columns = (await sql<{ name: string }>(
        `SELECT column_name AS name FROM information_schema.columns WHERE table_name = $1 AND table_schema = 'public' AND is_generated = 'NEVER' AND is_identity = 'NO'`, [table],
      )).map(({ name }) => name);
      await sql(
        `INSERT INTO ${table} (${columns.map((name) => `"${name}"`).join(', ')}) SELECT ${columns.map((name) => changes[name] ?? `m."${name}"`).join(', ')}
         FROM ${table} m, generate_series(0, ${rows - 1}) g WHERE m.id = $1`, [id],
      );
      await sql(`DELETE FROM ${table} WHERE id = $1`, [id]);
    };
    // Ids as random as they are in life, and the same in each table.
    const of = (prefix: string, by: string): string => `'${prefix}_' || left(md5((${by})::text), 26)`;
    const server = `g % ${INSTANCES}`;
    const began = `date_trunc('milliseconds', clock_timestamp()) - (g / ${INSTANCES}) * interval '1 day' - (${server}) * interval '0.1 second'`;
    const ended = `${began} + interval '12 seconds'`;
    await copy('instances', instance.id, INSTANCES, { id: of('ins', server), name: `'server ' || g`, port: '1 + g', run_id: `md5(g::text || 'run')` });
    await copy('jobs', jobId, count, {
      id: of('job', 'g'), instance_id: of('ins', server), backup_id: of('bak', 'g'), server_run_id: `md5((${server})::text || 'run')`, created_at: began, started_at: began, completed_at: ended,
    });
    await copy('backups', backupId, count, {
      id: of('bak', 'g'), instance_id: of('ins', server), job_id: of('job', 'g'), name: `'nightly of server ' || (${server})`, created_at: began, started_at: began, completed_at: ended, expires_at: `${ended} + interval '7 days'`,
    });
    for (const { definition } of indexes) await sql(definition);
    await sql('VACUUM ANALYZE');
  } finally {
    await close();
    await client.end();
  }
};
