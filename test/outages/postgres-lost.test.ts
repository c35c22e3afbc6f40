import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client as Postgres } from 'pg';
import { type Client, type Instance } from '@snapback/sdk';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../server/embedded/postgres.js';
import { firstKeyOf, startNode, type NodeProcess } from '../kit/node-process.js';
import { guardProcess, makeTempDir, releaseProcess, removeTempDir } from '../kit/processes.js';
import { startProxy, type Proxy } from '../kit/proxy.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { eventually, waitFor } from '../kit/wait.js';
import { populate, saveSlowly } from '../e2e/scene.js';

const quiet = (): void => undefined;

describe('a service whose PostgreSQL goes away', () => {
  let dir: string;
  let postgres: EmbeddedPostgres;
  let proxy: Proxy;
  let node: NodeProcess;
  let source: RedisServer;
  let sdk: Client;
  let instance: Instance;

  const startPostgres = async (): Promise<EmbeddedPostgres> => {
    const server = await startEmbeddedPostgres({ dataDir: join(dir, 'postgres'), log: { debug: quiet, info: quiet, warn: quiet, error: quiet }, settings: { fsync: 'off' } });
    guardProcess(server.pid, 'QUIT');
    return server;
  };
  const stopPostgres = async (): Promise<void> => {
    await postgres.stop();
    releaseProcess(postgres.pid);
  };
  const sql = async <T>(text: string): Promise<T[]> => {
    const client = new Postgres({ connectionString: postgres.url });
    await client.connect();
    try {
      return (await client.query(text)).rows as T[];
    } finally {
      await client.end();
    }
  };
  const backUp = async (name: string): Promise<void> => {
    const started = await sdk.backups.create({ instanceId: instance.id, name });
    expect(await sdk.backups.wait(started, { timeoutMs: 60_000 })).toMatchObject({ state: 'AVAILABLE' });
  };
  const isReady = (): Promise<void> => eventually(async () => expect(await node.ready()).toEqual({ status: 200, wrong: [] }));

  beforeAll(async () => {
    dir = makeTempDir('lost');
    [postgres, source] = await Promise.all([startPostgres(), startRedis({ config: { rdbcompression: 'no' } })]);
    proxy = await startProxy(postgres.port);
    const url = new URL(postgres.url);
    url.port = String(proxy.port);
    await populate(source, 300, 1_000);
    node = await startNode({ databaseUrl: url.href, storeRoot: join(dir, 'store'), masterKey: randomBytes(32).toString('hex') }, { env: { LEASE_SECONDS: '120', UPKEEP_SECONDS: '3600' } });
    sdk = node.client(await firstKeyOf([node]));
    instance = await sdk.instances.register({ name: 'source', host: source.host, port: source.port });
  });
  afterAll(async () => {
    await node?.dispose();
    await Promise.all([source?.stop(), proxy?.stop(), postgres && stopPostgres()]);
    await removeTempDir(dir);
  });

  it('restarted under a running backup: it says so, the backup ends in its first attempt, and all works again', async () => {
    await saveSlowly(source, 10_000);
    const { backup, job } = await sdk.backups.create({ instanceId: instance.id, name: 'through a restart' });
    await waitFor(async () => (await sdk.jobs.get(job))?.phase === 'TRANSFERRING');
    proxy.cut();
    await stopPostgres();
    await eventually(async () => expect(await node.ready()).toEqual({ status: 503, wrong: ['database', 'events', 'clock'] }));
    expect((await fetch(`${node.url}/healthz`)).status).toBe(200);

    postgres = await startPostgres();
    proxy.aim(postgres.port);
    proxy.mend();
    await isReady();
    expect(await sdk.backups.wait({ backup, job }, { timeoutMs: 60_000 })).toMatchObject({ state: 'AVAILABLE', keys: '300' });
    expect(await sdk.jobs.get(job)).toMatchObject({ attempt: 1, conclusion: 'SUCCEEDED' });
    await saveSlowly(source, 0);
    await backUp('after the restart');
    expect(node.running()).toBe(true);
  });

  it('with all its connections killed, the listening ones too, it works on, and hears of events again', async () => {
    const cut = await sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'snapback%'`);
    expect(cut.length).toBeGreaterThan(3);
    await backUp('after the cut');
    await isReady();
    expect(await sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'snapback events'`)).toHaveLength(1);
    await isReady();
    await waitFor(async () => (await sql(`SELECT FROM pg_stat_activity WHERE application_name = 'snapback events'`)).length === 1);
    await backUp('after the second cut');
  });

  it('stops with 0 while its database is away', async () => {
    proxy.cut();
    await waitFor(async () => (await node.ready()).status === 503);
    node.signal('SIGTERM');
    expect(await node.ended()).toBe(0);
  });
});
