import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { useServer } from 'graphql-ws/use/ws';
import { WebSocketServer } from 'ws';
import { createDatabase } from '../../server/db/database.js';
import { openDataSource } from '../../server/db/data-source.js';
import { EVENTS_CHANNEL } from '../../server/db/repositories/job-event.repository.js';
import { type Principal } from '../../server/domain/principal.js';
import { createEventFeed } from '../../server/events/feed.js';
import { createEventHub } from '../../server/events/hub.js';
import { topicsOf } from '../../server/events/topics.js';
import { makeContext } from '../../server/graphql/context.js';
import { buildServedSchema } from '../../server/graphql/schema.js';
import { type Services } from '../../server/services/api.js';
import { createJobService } from '../../server/services/job.service.js';
import { exited, guardProcess, releaseProcess } from '../kit/processes.js';
import { ProcessMeter } from './process-meter.js';

export interface PlainLive {
  port: number;
  meter: ProcessMeter;
  stop(): Promise<void>;
}

/**
 * What graphql-ws does by itself with the same schema: each event is executed and serialised for each socket. Its feed is the service's own, which
 * reads once for all of them; nobody is asked for a key, nothing is limited or masked. So the difference is the sharing, and the checks are on our side.
 */
export const startPlainLive = async (databaseUrl: string, projectId: string): Promise<PlainLive> => {
  const child = fork(fileURLToPath(import.meta.url), [databaseUrl, projectId], { stdio: 'inherit', env: { ...process.env, NODE_ENV: 'production' } });
  const { pid } = child;
  if (pid === undefined) throw new Error('A forked process has an id');
  guardProcess(pid, 'TERM');
  const [port] = (await once(child, 'message')) as [number];
  return {
    port, meter: new ProcessMeter(pid),
    async stop() {
      child.kill('SIGTERM');
      await exited(child);
      releaseProcess(pid);
    },
  };
};

const serve = async (databaseUrl: string, projectId: string): Promise<number> => {
  const quiet = (): void => undefined;
  const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };
  const { source } = await openDataSource({ url: databaseUrl });
  const db = createDatabase(source, topicsOf);
  const hub = createEventHub({ url: databaseUrl, channel: EVENTS_CHANNEL, log });
  await hub.start();
  const clock = { now: () => new Date() };
  const feed = createEventFeed({ events: db.read.events, jobs: db.read.jobs, hub, clock, mayPass: () => true });
  const jobs = createJobService({ db, feed, clock, queue: { enqueueJob: () => Promise.resolve(), schedulePolicy: () => Promise.resolve() } });
  const caller: Principal = { credential: 'API_KEY', keyId: 'key_bench', name: 'bench', projectId, role: 'ADMIN', serviceWide: true, instanceIds: null, expiresAt: null };
  const server = createServer();
  useServer({ schema: await buildServedSchema(), context: () => makeContext({ jobs } as unknown as Services, caller, 'bench', null) }, new WebSocketServer({ server, path: '/graphql', perMessageDeflate: false }));
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 });
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
};

const [databaseUrl, projectId] = process.argv.slice(2);
if (process.send && databaseUrl !== undefined && projectId !== undefined) process.send(await serve(databaseUrl, projectId));
