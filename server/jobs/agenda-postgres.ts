import { setTimeout } from 'node:timers/promises';
import { PostgresBackend, PostgresNotificationChannel } from '@agendajs/postgres-backend';
import pg from 'pg';
import { DomainError } from '../domain/errors.js';
import { type AgendaStore, type Errand, POLICY_DUE, type StoreEvents, wakeUp } from './agenda-store.js';

/** Made by the migration of the same name, never by the library: its own way of making it fails when two processes start at once. */
const TABLE = 'agenda_jobs';
const CHANNEL = 'snapback_clock';

/** A row that is replaced gets a new id (see AgendaStore); NOTIFY leaves with the row, whether or not this process delivers. */
const PUT = `
  WITH put AS (
    INSERT INTO ${TABLE} (name, next_run_at, data)
    VALUES ($1, COALESCE($3::timestamptz, now()), jsonb_build_object('subject', $2::text))
    ON CONFLICT (name, (data->>'subject')) DO UPDATE SET
      id = gen_random_uuid(),
      next_run_at = CASE WHEN $4 THEN EXCLUDED.next_run_at ELSE LEAST(${TABLE}.next_run_at, EXCLUDED.next_run_at) END,
      locked_at = NULL, last_run_at = NULL, last_finished_at = NULL, last_modified_by = NULL,
      fail_count = NULL, fail_reason = NULL, failed_at = NULL
    RETURNING id, next_run_at
  )
  SELECT pg_notify('${CHANNEL}', json_build_object(
    'jobId', id, 'jobName', $1::text, 'nextRunAt', CASE WHEN $4 THEN next_run_at END, 'priority', 0, 'timestamp', now())::text)
  FROM put`;

/**
 * The library's channel, minus its notice of every start and end of a run (three round trips each; job events say it better), and
 * closable while it is reconnecting (the library would leave a connection checked out, and the pool could not end).
 */
class WakeChannel extends PostgresNotificationChannel {
  private connecting: Promise<void> = Promise.resolve();
  private closed = false;

  override connect(): Promise<void> {
    if (this.closed) return Promise.resolve();
    this.connecting = super.connect();
    return this.connecting;
  }

  override async disconnect(): Promise<void> {
    this.closed = true;
    await Promise.allSettled([this.connecting]);
    await super.disconnect();
  }

  override publishState(): Promise<void> {
    return Promise.resolve();
  }

  nudge(errand: Errand): Promise<void> {
    return this.notifyHandlers(wakeUp(errand));
  }
}

const ATTEMPTS = 3;
/** Longest wait for connections to be closed on both sides. */
const CLOSE_MS = 2_000;

/** Whether a statement failed for want of a connection: no SQLSTATE at all, class 08, or the server going down (57P01 to 57P03). */
const isConnectionLoss = (error: unknown): boolean =>
  !(error instanceof pg.DatabaseError) || /^(08...|57P0[123])$/.test(error.code ?? '');

/**
 * Opens Agenda's rows in PostgreSQL. Fails with INTERNAL when the server does not answer within 5 seconds; later losses of the
 * connection are told to `events` and mended in the background.
 */
export const openPostgresStore = async (databaseUrl: string, events: StoreEvents): Promise<AgendaStore> => {
  const pool = new pg.Pool({
    connectionString: databaseUrl, max: 6, connectionTimeoutMillis: 5_000, query_timeout: 15_000, keepAlive: true,
    application_name: 'snapback-clock',
  });
  // Without this listener the loss of an idle connection ends the process.
  pool.on('error', (error) => { events.trouble('An idle connection of the clock to PostgreSQL was lost', error); });
  const connections = new Set<pg.PoolClient>();
  pool.on('connect', (client) => { connections.add(client); });
  // Told when the connection has ended; the pool's own end() does not wait for that.
  pool.on('remove', (client) => { connections.delete(client); });
  const channel = new WakeChannel({ pool, channelName: CHANNEL });
  channel.on('error', (error: unknown) => { events.trouble('The connection on which the clock listens was lost', error); });
  const backend = new PostgresBackend({ pool, tableName: TABLE, ensureSchema: false, disableNotifications: true });
  try {
    await backend.connect();
  } catch (error) {
    await pool.end();
    throw new DomainError('INTERNAL', 'The clock could not reach its PostgreSQL server.', {
      hint: 'Check DATABASE_URL and that the server accepts connections.', retryable: true, cause: error,
    });
  }

  /** Every statement here may be repeated, so a connection that turns out to be dead costs the caller nothing but a moment. */
  const query = async <T extends pg.QueryResultRow>(sql: string, values: readonly unknown[] = []): Promise<T[]> => {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return (await pool.query<T>(sql, [...values])).rows;
      } catch (error) {
        if (attempt >= ATTEMPTS || !isConnectionLoss(error)) throw error;
        await setTimeout(attempt * 50);
      }
    }
  };

  return {
    name: backend.name,
    repository: backend.repository,
    channel,
    nudge(errand) {
      void channel.nudge(errand);
    },
    async put(errand: Errand, subject: string, at: Date | null) {
      await query(PUT, [errand, subject, at, errand === POLICY_DUE]);
    },
    async remove(errand, subject) {
      await query(`DELETE FROM ${TABLE} WHERE name = $1 AND data->>'subject' = $2`, [errand, subject]);
    },
    list(errand) {
      return query<{ subject: string; at: Date }>(
        `SELECT data->>'subject' AS subject, next_run_at AS at FROM ${TABLE}
         WHERE name = $1 AND next_run_at IS NOT NULL ORDER BY next_run_at, subject`, [errand]);
    },
    async subjects(errand) {
      const rows = await query<{ subject: string }>(`SELECT data->>'subject' AS subject FROM ${TABLE} WHERE name = $1`, [errand]);
      return rows.map(({ subject }) => subject);
    },
    async handBack(owner) {
      await query(
        `UPDATE ${TABLE} SET locked_at = NULL, next_run_at = COALESCE(next_run_at, now())
         WHERE last_modified_by = $1 AND locked_at IS NOT NULL`, [owner]);
    },
    async now() {
      const [row] = await query<{ now: Date }>('SELECT clock_timestamp() AS now');
      return row?.now ?? new Date();
    },
    async close() {
      await channel.disconnect();
      await pool.end();
      for (let waited = 0; connections.size > 0 && waited < CLOSE_MS; waited += 20) await setTimeout(20);
    },
  };
};
