/*
 * One of the three servers that bench:api compares, in a process of its own: `snapback`, the service as it runs; `floor`, a bare Apollo server that
 * answers from memory; `raw`, the same Apollo server over one SQL statement written by hand. Told what to do by messages of its parent.
 */
import { ApolloServer } from '@apollo/server';
import { expressMiddleware } from '@as-integrations/express5';
import { makeExecutableSchema } from '@graphql-tools/schema';
import express from 'express';
import { createServer } from 'node:http';
import { type AddressInfo } from 'node:net';
import pg from 'pg';
import { startApp } from '../../server/app.js';
import { readConfig } from '../../server/config/config.js';
import { listCursor, parseListCursor } from '../../server/domain/cursor.js';
import { readSdl } from '../../server/graphql/schema.js';
import { createLogger } from '../../server/telemetry/logger.js';

export type ServerKind = 'snapback' | 'floor' | 'raw';
export type ToServer = { answer: unknown } | { countStatements: boolean };
export type FromServer = { port: number; key?: string } | { statements: string[] };

const tell = (message: FromServer): void => {
  process.send?.(message);
};

/** Apollo as its documentation sets it up; scalars go through as they are. */
const startApollo = async (backups: (args: { first: number; after?: string | null }) => unknown): Promise<void> => {
  const apollo = new ApolloServer({ schema: makeExecutableSchema({ typeDefs: readSdl(), resolvers: { Query: { backups: (_root: unknown, args: { first: number; after?: string | null }) => backups(args) } } }) });
  await apollo.start();
  const app = express();
  app.use('/graphql', express.json(), expressMiddleware(apollo));
  const server = createServer(app).listen(0, '127.0.0.1', () => tell({ port: (server.address() as AddressInfo).port }));
};

const RAW = `
  SELECT b.id, b.name, b.state, b.trigger, b.engine_version AS "engineVersion", b.size_bytes AS "sizeBytes", b.keys, b.created_at AS "createdAt", b.started_at AS "startedAt",
    b.completed_at AS "completedAt", (extract(epoch FROM b.completed_at - b.started_at) * 1000)::int AS "durationMs", b.expires_at AS "expiresAt",
    CASE WHEN b.state NOT IN ('AVAILABLE', 'DAMAGED') THEN NULL
      WHEN b.state = 'AVAILABLE' AND b.trigger <> 'PRE_RESTORE' AND i.removed_at IS NULL AND NOT EXISTS (SELECT 1 FROM backups n WHERE n.instance_id = b.instance_id
        AND n.state = 'AVAILABLE' AND n.trigger <> 'PRE_RESTORE' AND (n.completed_at, n.id) > (b.completed_at, b.id)) THEN 'NEWEST_GOOD'
      WHEN EXISTS (SELECT 1 FROM backup_leases l WHERE l.backup_id = b.id AND l.expires_at > clock_timestamp())
        OR EXISTS (SELECT 1 FROM jobs r WHERE r.backup_id = b.id AND r.kind IN ('RESTORE', 'PLAN', 'VERIFY', 'INSPECT') AND r.state <> 'COMPLETED') THEN 'IN_USE' END AS "retainedBecause",
    i.id AS "instanceId", i.name AS "instanceName", i.host, i.port, j.id AS "jobId", j.kind, j.state AS "jobState", j.conclusion, j.attempt, j.completed_at AS "jobCompletedAt"
  FROM (SELECT * FROM backups WHERE project_id = (SELECT id FROM projects WHERE name = 'default') AND state <> 'DELETED' AND ($1::timestamptz IS NULL OR (created_at, id) < ($1, $2))
    ORDER BY created_at DESC, id DESC LIMIT $3) b
  JOIN instances i ON i.id = b.instance_id LEFT JOIN jobs j ON j.id = b.job_id ORDER BY b.created_at DESC, b.id DESC`;

interface RawRow extends Record<string, unknown> {
  id: string;
  createdAt: Date;
}

const startRaw = async (databaseUrl: string): Promise<void> => {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 14 });
  await startApollo(async ({ first, after }) => {
    const from = after == null ? null : parseListCursor('backups', after, 'after');
    const { rows } = await pool.query<RawRow>(RAW, [from?.createdAt ?? null, from?.id ?? null, first + 1]);
    const page = rows.slice(0, first);
    const last = page.at(-1);
    return {
      nodes: page.map(({ instanceId, instanceName, host, port, jobId, kind, jobState, conclusion, attempt, jobCompletedAt, ...backup }) => ({
        ...backup, instance: { id: instanceId, name: instanceName, host, port }, job: jobId === null ? null : { id: jobId, kind, state: jobState, conclusion, attempt, completedAt: jobCompletedAt },
      })),
      pageInfo: { hasNextPage: rows.length > first, endCursor: last ? listCursor('backups', last) : null },
    };
  });
};

const startFloor = (): Promise<void> => {
  let answer: unknown;
  process.on('message', (message: ToServer) => {
    if ('answer' in message) ({ answer } = message);
  });
  return startApollo(() => answer);
};

/** As `npm start` runs it, but without jobs and upkeep: the archives of these backups are nowhere. */
const startSnapback = async (databaseUrl: string, dataDir: string): Promise<void> => {
  const config = readConfig({
    ROLE: 'api', DATABASE_URL: databaseUrl, DATA_DIR: dataDir, HOST: '127.0.0.1', PORT: '0', SAMPLE_REDIS: 'false',
    // Everything is counted and nothing refused.
    RATE_LIMIT_POINTS: '1000000000',
  });
  let key = '';
  const app = await startApp({
    config, databaseUrl, log: createLogger({ level: 'warn', format: 'text', write: (line) => process.stderr.write(line) }), processMetrics: true,
    keepFirstKey: (text) => {
      key = text;
      return Promise.resolve();
    },
  });
  const original = pg.Client.prototype.query as (...given: unknown[]) => unknown;
  const prototype = pg.Client.prototype as unknown as { query: typeof original };
  let statements: string[] = [];
  process.on('message', (message: ToServer) => {
    if (!('countStatements' in message)) return;
    if (!message.countStatements) {
      prototype.query = original;
      tell({ statements });
      return;
    }
    statements = [];
    prototype.query = function (this: pg.Client, ...given: unknown[]) {
      const [first] = given;
      statements.push(typeof first === 'string' ? first : String((first as { text?: unknown } | null)?.text));
      return Reflect.apply(original, this, given);
    };
  });
  tell({ port: Number(new URL(app.url).port), key });
  process.once('SIGTERM', () => {
    void app.stop().then(() => process.exit(0));
  });
};

const [kind, databaseUrl = '', dataDir = ''] = process.argv.slice(2);
if (kind === 'snapback') await startSnapback(databaseUrl, dataDir);
else if (kind === 'raw') await startRaw(databaseUrl);
else await startFloor();
