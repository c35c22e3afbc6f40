import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { firstKeyOf, spawnNode } from '../kit/node-process.js';
import { type RedisServer } from '../kit/redis.js';
import { waitFor } from '../kit/wait.js';
import { type NodesScene, slowServer, startNodesScene } from '../e2e/nodes-scene.js';

describe('five processes on one empty database', () => {
  let scene: NodesScene;
  let source: RedisServer;
  beforeAll(async () => {
    [scene, source] = await Promise.all([startNodesScene(), slowServer(1)]);
  });
  afterAll(async () => {
    await Promise.all([scene?.stop(), source?.stop()]);
  });

  it('start at once, share everything, keep to their roles, and end with 0', async () => {
    const roles = ['all', 'api', 'api', 'worker', 'worker'];
    const spawned = await Promise.all(roles.map((ROLE) => spawnNode(scene.facts, { env: { ROLE, LOG_LEVEL: 'debug' } })));
    scene.nodes.push(...spawned.map(({ node }) => node));
    const nodes = await Promise.all(spawned.map(({ ready }) => ready));
    const [both, api, otherApi, worker, otherWorker] = nodes;
    if (!both || !api || !otherApi || !worker || !otherWorker) throw new Error('Five were started');
    for (const node of nodes) expect(await node.ready()).toEqual({ status: 200, wrong: [] });
    expect(nodes.filter((node) => node.output().includes('Migrated the database'))).toHaveLength(1);

    for (const node of [worker, otherWorker]) {
      for (const path of ['/graphql', '/', '/downloads/x']) expect((await fetch(`${node.url}${path}`)).status).toBe(404);
      expect((await fetch(`${node.url}/healthz`)).status).toBe(200);
      expect(await (await fetch(`${node.url}/metrics`)).text()).toContain('process_cpu_seconds_total');
    }

    const token = await firstKeyOf(nodes);
    const sdk = api.client(token);
    const instance = await sdk.instances.register({ name: 'source', host: source.host, port: source.port });
    const started = await sdk.backups.create({ instanceId: instance.id, name: 'from anywhere' });
    expect([both.pid, worker.pid, otherWorker.pid]).toContain((await scene.workerOf(started.job)).pid);
    // Followed on another node than it was asked for, and on a third one than it runs on.
    const backup = await otherApi.client(token).backups.wait(started, { timeoutMs: 60_000 });
    expect(backup).toMatchObject({ state: 'AVAILABLE', keys: '200' });

    expect(await Promise.all(nodes.map((node) => node.stop()))).toEqual([0, 0, 0, 0, 0]);
    for (const node of nodes) expect(node.output()).not.toMatch(/connection broke|ERROR|could not be stopped/);
    expect(await scene.sql(`SELECT application_name FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'snapback%'`)).toEqual([]);
  });

  it('with only an API among them, work waits for a worker; of two, one at a time when the service allows one', async () => {
    const api = await scene.start({ env: { ROLE: 'api' } });
    const token = await firstKeyOf(scene.nodes);
    const sdk = api.client(token);
    const second = await slowServer(1);
    try {
      const [known] = await sdk.instances.list().toArray({ limit: 10 });
      const other = await sdk.instances.register({ name: 'second', host: second.host, port: second.port });
      const [one, two] = await Promise.all([known?.id ?? '', other.id].map((instanceId) => sdk.backups.create({ instanceId, name: 'waits' })));
      if (!one || !two) throw new Error('Two were started');
      expect([await scene.row(one.job), await scene.row(two.job)]).toMatchObject([{ state: 'QUEUED' }, { state: 'QUEUED' }]);

      const limit = { ROLE: 'worker', CONCURRENT_JOBS_TOTAL: '1', NET_SECONDS: '60' };
      await Promise.all([scene.start({ env: limit }), scene.start({ env: limit })]);
      let most = 0;
      await waitFor(async () => {
        const rows = await Promise.all([scene.row(one.job), scene.row(two.job)]);
        most = Math.max(most, rows.filter(({ state }) => state === 'RUNNING').length);
        return rows.every(({ conclusion }) => conclusion === 'SUCCEEDED');
      }, { intervalMs: 10, message: 'both backups, one after the other' });
      expect(most).toBe(1);
      const [first, last] = await scene.sql<{ started_at: Date; completed_at: Date }>('SELECT started_at, completed_at FROM jobs WHERE id = ANY($1) ORDER BY started_at', [[one.job.id, two.job.id]]);
      // Woken by the end of the first one, not by the pass of each minute.
      expect((last?.started_at.getTime() ?? Infinity) - (first?.completed_at.getTime() ?? 0)).toBeLessThan(30_000);
      expect((last?.started_at.getTime() ?? 0) - (first?.completed_at.getTime() ?? Infinity)).toBeGreaterThanOrEqual(-50);
    } finally {
      await second.stop();
    }
  });
});
