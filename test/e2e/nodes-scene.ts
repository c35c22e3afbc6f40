import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Client as Postgres } from 'pg';
import { createTestDatabase, type TestDatabase } from '../kit/postgres.js';
import { type NodeOptions, type NodeProcess, type ServiceFacts, startNode } from '../kit/node-process.js';
import { makeTempDir, removeTempDir } from '../kit/processes.js';
import { type RedisServer, startRedis } from '../kit/redis.js';
import { waitFor } from '../kit/wait.js';
import { populate, saveSlowly } from './scene.js';

export interface JobRow {
  state: string;
  conclusion: string | null;
  attempt: number;
  worker: string | null;
  phase: string | null;
}

/** A database, a store and a master key that processes share; with a look at the rows. */
export const startNodesScene = async () => {
  const database: TestDatabase = await createTestDatabase({ empty: true });
  const storeRoot = makeTempDir('shared-store');
  const facts: ServiceFacts = { databaseUrl: database.url, storeRoot, masterKey: randomBytes(32).toString('hex') };
  const observer = new Postgres({ connectionString: database.url });
  observer.on('error', () => undefined);
  await observer.connect();
  const nodes: NodeProcess[] = [];
  const sql = async <T>(text: string, parameters: unknown[] = []): Promise<T[]> => (await observer.query(text, parameters)).rows as T[];
  const scene = {
    facts, nodes, sql,
    async start(options: NodeOptions = {}): Promise<NodeProcess> {
      const node = await startNode(facts, options);
      nodes.push(node);
      return node;
    },
    async row({ id }: { id: string }): Promise<JobRow> {
      const [row] = await sql<JobRow>('SELECT state, conclusion, attempt, worker, phase FROM jobs WHERE id = $1', [id]);
      if (!row) throw new Error(`No job ${id}`);
      return row;
    },
    /** The process that works on a job, once bytes flow. */
    async workerOf(job: { id: string }): Promise<NodeProcess> {
      const row = await waitFor(async () => {
        const now = await scene.row(job);
        return now.phase === 'TRANSFERRING' && now.worker !== null ? now : null;
      }, { message: 'a worker to transfer' });
      const node = nodes.find(({ pid }) => row.worker?.includes(`-${String(pid)}-`));
      if (!node) throw new Error(`Nobody we know works on it: ${String(row.worker)}`);
      return node;
    },
    completed: (job: { id: string }, timeoutMs = 30_000): Promise<JobRow> =>
      waitFor(async () => {
        const row = await scene.row(job);
        return row.state === 'COMPLETED' ? row : null;
      }, { timeoutMs, message: () => `the job to end; the nodes said:\n${nodes.map((node) => node.output().slice(-2_000)).join('\n---\n')}` }),
    /** Ends the lease of a run at once: the worker has done nothing for as long as it lasts. It is longer than any machine stands still. */
    expire: (job: { id: string }) => sql(`UPDATE jobs SET lease_until = clock_timestamp() - interval '1 second' WHERE id = $1 AND state = 'RUNNING'`, [job.id]),
    ends: (job: { id: string }) => sql<{ count: string }>(`SELECT count(*) FROM job_events WHERE job_id = $1 AND job_state = 'COMPLETED'`, [job.id]).then(([row]) => Number(row?.count)),
    objects: async (backup: { id: string }): Promise<string[]> => (await readdir(join(storeRoot, 'backups', backup.id))).sort(),
    temporaries: (): Promise<string[]> => readdir(join(storeRoot, '.tmp')),
    async stop() {
      await Promise.all(nodes.map((node) => node.dispose()));
      await observer.end();
      await database.drop();
      await removeTempDir(storeRoot);
    },
  };
  return scene;
};

/** A server whose backup takes about so long. */
export const slowServer = async (seconds: number): Promise<RedisServer> => {
  const server = await startRedis({ config: { rdbcompression: 'no' } });
  await populate(server, seconds * 200, 1_000);
  await saveSlowly(server, 5_000);
  return server;
};

export type NodesScene = Awaited<ReturnType<typeof startNodesScene>>;
