import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { JobProgressDocument } from '../../sdk/src/generated/operations.js';
import { createDatabase } from '../../server/db/database.js';
import { openDataSource } from '../../server/db/data-source.js';
import { EVENTS_CHANNEL } from '../../server/db/repositories/job-event.repository.js';
import { makeId } from '../../server/domain/ids.js';
import { openControl } from '../../server/engine/control.js';
import { type Broker, startBroker } from '../../server/events/broker.js';
import { topicsOf } from '../../server/events/topics.js';
import { ALLOW_EVERYTHING, createDial } from '../../server/security/dial.js';
import { type Database, type JobChange, type JobEventDraft } from '../../server/services/ports.js';
import { type NodesScene, startNodesScene } from '../e2e/nodes-scene.js';
import { LiveClient } from '../kit/live-client.js';
import { firstKeyOf, heapOnSignal, type NodeProcess } from '../kit/node-process.js';
import { type RedisServer, startRedis } from '../kit/redis.js';
import { eventually, waitFor } from '../kit/wait.js';

/** On the node that is killed, and on the one that goes on. */
const SUBSCRIBERS = [500, 100] as const;
const CYCLES = 10_000;
const AT_ONCE = 20;
const quiet = (): void => undefined;
const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };

describe('subscribers of nodes that lose each other', { timeout: 600_000 }, () => {
  let scene: NodesScene;
  let redis: RedisServer;
  let nodes: NodeProcess[];
  let token: string;
  let db: Database;
  let close: () => Promise<void>;
  let broker: Broker;
  let projectId: string;

  beforeAll(async () => {
    [scene, redis] = await Promise.all([startNodesScene(), startRedis({ password: 'announced' })]);
    const env = { ROLE: 'api', MAX_SOCKETS: '2000', MAX_SOCKETS_OF_KEY: '2000', RATE_LIMIT_POINTS: '0', EVENTS_REDIS_URL: `redis://:announced@127.0.0.1:${redis.port}` };
    nodes = [await scene.start({ env, preload: [heapOnSignal] }), await scene.start({ env, preload: [heapOnSignal] })];
    token = await firstKeyOf(scene.nodes);
    projectId = (await node(0).client(token).viewer()).project.id;
    broker = startBroker({
      open: (onMessage) => openControl({ host: '127.0.0.1', port: redis.port, password: 'announced' }, { dial: createDial(ALLOW_EVERYTHING), log }, { onMessage }), channel: EVENTS_CHANNEL, log,
    }, { onMessage: quiet, onOpen: quiet });
    const opened = await openDataSource({ url: scene.facts.databaseUrl });
    close = opened.close;
    db = createDatabase(opened.source, topicsOf, { onCommitted: (topics) => broker.publish(topics.join(' ')) });
  });
  afterAll(async () => {
    await broker?.stop();
    await close?.();
    await Promise.all([scene?.stop(), redis?.stop()]);
  });

  const node = (at: number): NodeProcess => nodes[at] as NodeProcess;
  const portOf = ({ url }: NodeProcess): number => Number(new URL(url).port);

  /** A job that runs, and the numbers of all that it has said that must reach everybody. */
  const runningJob = async () => {
    const id = makeId('job', new Date(), randomBytes(10));
    const lasting: number[] = [];
    const change = async (event: JobEventDraft, what: JobChange = {}): Promise<void> => {
      const written = await db.transaction((tx) => tx.jobs.change(id, {}, what, event));
      if (!written) throw new Error('The job is gone');
      if (event.kind !== 'PROGRESS') lasting.push(written.sequence);
    };
    await db.transaction((tx) => tx.jobs.insert({
      id, projectId, kind: 'BACKUP', createdAt: new Date(), instanceId: null, backupId: null, restoreId: null, serverRunId: randomBytes(20).toString('hex'), cancellable: true, maxAttempts: 3,
    }));
    await db.transaction((tx) => tx.jobs.change(id, {}, { state: 'RUNNING', startedAt: new Date() }, { kind: 'STATE', at: new Date() }));
    return {
      id, lasting,
      async says(times: number): Promise<void> {
        for (let at = 0; at < times; at += 1) {
          await change({ kind: 'PROGRESS', at: new Date() });
          await change({ kind: 'NOTICE', at: new Date(), notice: { code: 'SAID', message: 'Something.' } });
        }
      },
      ends: () => change({ kind: 'STATE', at: new Date() }, { state: 'COMPLETED', conclusion: 'SUCCEEDED', completedAt: new Date() }),
    };
  };
  const ready = async (at: NodeProcess, ...wrong: string[]): Promise<void> => void (await waitFor(async () => (await at.ready()).wrong.join() === wrong.join(), { message: `${wrong.join()} to be wrong` }));

  it(`Redis goes and comes back, the listening connections are cut, a node with ${SUBSCRIBERS[0]} subscribers is killed: each of them, and of ${SUBSCRIBERS[1]} others, has everything once and in order`, async () => {
    const job = await runningJob();
    let lost = 0;
    const [homeless, others] = SUBSCRIBERS.map((length) => Array.from({ length }, () => new LiveClient({ token, query: String(JobProgressDocument), jobId: job.id }, quiet, () => {
      lost += 1;
    }))) as [LiveClient[], LiveClient[]];
    const clients = [...homeless, ...others];
    await Promise.all([homeless, others].map((some, at) => Promise.all(some.map((client) => client.open(portOf(node(1 - at)), null)))));
    await Promise.all(nodes.map((each) => ready(each)));
    await job.says(3);

    await redis.kill();
    await job.says(3);
    await Promise.all(nodes.map((each) => ready(each, 'events-redis')));
    expect((await node(0).ready()).status).toBe(200);
    await scene.sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'snapback events' AND datname = current_database()`);
    await job.says(3);
    await Promise.all(nodes.map((each) => ready(each, 'events-redis')));
    await redis.restart();
    await Promise.all(nodes.map((each) => ready(each)));
    await job.says(3);
    expect(lost).toBe(0);

    const going = job.says(20);
    await node(1).kill();
    await waitFor(() => lost === homeless.length);
    await Promise.all(homeless.map((client) => client.open(portOf(node(0)), client.last)));
    await going;
    await job.ends();
    await waitFor(() => clients.every(({ complete }) => complete), { message: () => `everybody to be complete: ${clients.filter(({ complete }) => complete).length}` });
    expect(clients.filter(({ disordered }) => disordered)).toEqual([]);
    for (const client of clients) expect(client.lasting).toEqual(job.lasting);
    for (const client of clients) client.cut();
  });

  it('one that stops reading is cut, and nobody else notices', async () => {
    const job = await runningJob();
    let cut = 0;
    const make = (onLost: () => void): LiveClient => new LiveClient({ token, query: String(JobProgressDocument), jobId: job.id }, quiet, onLost);
    const [frozen, well] = [make(quiet), make(() => {
      cut += 1;
    })];
    await Promise.all([frozen, well].map((client) => client.open(portOf(node(0)), null)));
    frozen.freeze();
    const before = await node(0).connections();
    await job.says(50);
    await waitFor(() => well.lasting.length === job.lasting.length);
    // Two pings are 24 s; nothing else cuts it at all.
    await waitFor(async () => (await node(0).connections()) < before, { timeoutMs: 120_000, message: 'the frozen one to be cut' });
    await job.ends();
    await waitFor(() => well.complete);
    expect(cut).toBe(0);
    expect(well.lasting).toEqual(job.lasting);
    frozen.cut();
    well.cut();
  });

  it(`${CYCLES} that come, subscribe and go leave nothing behind`, async () => {
    const job = await runningJob();
    const cycle = async (): Promise<void> => {
      const client = new LiveClient({ token, query: String(JobProgressDocument), jobId: job.id }, quiet, quiet);
      await client.open(portOf(node(0)), null);
      client.cut();
    };
    const cycles = async (count: number): Promise<number> => {
      let left = count;
      await Promise.all(Array.from({ length: AT_ONCE }, async () => {
        for (; left > 0;) {
          left -= 1;
          await cycle();
        }
      }));
      return node(0).heapBytes();
    };
    const before = await cycles(CYCLES / 10);
    await cycles(CYCLES);
    // What is on its way out may take its time.
    await eventually(async () => expect((await node(0).heapBytes()) / before).toBeLessThan(1.05));
  });
});
