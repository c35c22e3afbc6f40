import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { JobProgressDocument } from '../../sdk/src/generated/operations.js';
import { EVENTS_CHANNEL } from '../../server/db/repositories/job-event.repository.js';
import { startEmbeddedPostgres } from '../../server/embedded/postgres.js';
import { openControl } from '../../server/engine/control.js';
import { startBroker } from '../../server/events/broker.js';
import { ALLOW_EVERYTHING, createDial } from '../../server/security/dial.js';
import { guardProcess, makeTempDir, releaseProcess, removeTempDir } from '../kit/processes.js';
import { startRedis } from '../kit/redis.js';
import { waitFor } from '../kit/wait.js';
import { type LiveClients, type Seen, startLiveClients } from './live-clients.js';
import { startPlainLive } from './plain-live.js';
import { type ProcessMeter } from './process-meter.js';
import { median, round, runBench, tell } from './report.js';
import { type RunningJob, startRunningJob } from './running-job.js';
import { startServiceProcess } from './service-process.js';

/** `--json` is accepted and changes nothing: the last line of standard output is always the result. */
const { values } = parseArgs({ options: { json: { type: 'boolean' }, sockets: { type: 'string', default: '3000' }, rounds: { type: 'string', default: '3' }, seconds: { type: 'string', default: '10' }, 'cpu-prof': { type: 'string' } } });
const [SOCKETS, ROUNDS, SECONDS] = [Number(values.sockets), Number(values.rounds), Number(values.seconds)];
/** Load every module and warm the compiler before memory and time count. */
const WARM_UP = 200;
const EVENTS_A_SECOND = 4;
const KIB = 1024;
const quiet = (): void => undefined;
const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };

const percentile = ({ latencies }: Seen, share: number): number => {
  const all = latencies.reduce((sum, count) => sum + count, 0);
  let below = 0;
  for (const [ms, count] of latencies.entries()) {
    below += count;
    if (below >= all * share) return ms;
  }
  throw new Error('No event arrived');
};

interface Round {
  p50: number;
  p99: number;
  /** CPU of the server for each event at each socket, in µs. */
  cpuMicros: number;
  /** Of what must reach everybody, the share that did. */
  delivered: number;
  progressShare: number;
}

/** Everybody follows one job for a while. */
const follow = async (clients: LiveClients, sockets: number, job: RunningJob, meters: readonly ProcessMeter[], seconds: number): Promise<Round> => {
  const events = seconds * EVENTS_A_SECOND;
  const from = job.lasting.length;
  await clients.ask('collect', null);
  const before = meters.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0);
  await job.run(events);
  const due = job.lasting.slice(from);
  let seen = await clients.ask('collect', null);
  const arrived = new Map(seen.lasting);
  const missing = (): number => due.reduce((sum, sequence) => sum + sockets - (arrived.get(sequence) ?? 0), 0);
  // Who is far behind has its time.
  for (let waited = 0; missing() > 0 && waited < 100; waited += 1) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    const more = await clients.ask('collect', null);
    for (const [sequence, times] of more.lasting) arrived.set(sequence, (arrived.get(sequence) ?? 0) + times);
    const latencies = Array.from({ length: Math.max(seen.latencies.length, more.latencies.length) }, (_, ms) => (seen.latencies[ms] ?? 0) + (more.latencies[ms] ?? 0));
    seen = { ...more, latencies, events: seen.events + more.events };
  }
  const cpu = meters.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0) - before;
  if (seen.disordered > 0) throw new Error(`${seen.disordered} clients saw events twice or out of order.`);
  return {
    p50: percentile(seen, 0.5), p99: percentile(seen, 0.99), cpuMicros: (cpu * 1e6) / seen.events, delivered: 1 - missing() / (due.length * sockets), progressShare: seen.events / (events * sockets),
  };
};

const shown = (what: string, { p50, p99, cpuMicros, delivered, progressShare }: Round): void =>
  tell(`${what}: p50 ${p50} ms, p99 ${p99} ms, ${cpuMicros.toFixed(1)} µs of CPU for each event at each socket, ${(delivered * 100).toFixed(2)} % of what must arrive, ${(progressShare * 100).toFixed(1)} % of everything`);

await runBench(async (defer) => {
  const folder = makeTempDir('bench-subscriptions');
  defer(() => removeTempDir(folder));
  const postgres = await startEmbeddedPostgres({ dataDir: join(folder, 'postgres'), log });
  guardProcess(postgres.pid, 'QUIT');
  defer(async () => {
    await postgres.stop();
    releaseProcess(postgres.pid);
  });
  const settings = {
    DATABASE_URL: postgres.url, ROLE: 'api', RATE_LIMIT_POINTS: '0', MAX_SOCKETS: '20000', MAX_SOCKETS_OF_KEY: '20000', MASTER_KEY: randomBytes(32).toString('hex'), CONNECT_ALLOW: '127.0.0.0/8', STORE_URL: `file://${join(folder, 'store')}`,
  };
  const node = await startServiceProcess({ dataDir: join(folder, 'node'), profileDirectory: values['cpu-prof'], settings });
  defer(() => node.stop());
  const { id: projectId } = (await node.sdk.viewer()).project;
  const clients = await startLiveClients();
  defer(() => clients.stop());
  const plain = await startPlainLive(postgres.url, projectId);
  defer(() => plain.stop());
  const job = await startRunningJob(postgres.url, projectId);
  defer(() => job.stop());
  const aimAt = (port: number, count: number, of = job) => ({ port, count, token: node.token, query: String(JobProgressDocument), jobId: of.id });
  tell(`${SOCKETS} sockets on one node, one job, ${EVENTS_A_SECOND} events a second; ${ROUNDS} rounds of ${SECONDS} s`);

  for (const port of [node.port, plain.port]) {
    await clients.ask('open', aimAt(port, WARM_UP));
    await follow(clients, WARM_UP, job, [node.meter], 3);
    await clients.ask('close', null);
  }

  const kib: number[] = [];
  const rounds: { ours: Round; plain: Round }[] = [];
  for (let turn = 0; turn < ROUNDS; turn += 1) {
    const one = async (what: string, port: number, meter: ProcessMeter): Promise<Round> => {
      const before = meter.rss;
      await clients.ask('open', aimAt(port, SOCKETS));
      const result = await follow(clients, SOCKETS, job, [meter], SECONDS);
      const each = (meter.rss - before) / KIB / SOCKETS;
      if (meter === node.meter) kib.push(each);
      const { lost } = await clients.ask('collect', null);
      if (lost > 0) throw new Error(`${lost} sockets were lost.`);
      await clients.ask('close', null);
      shown(`round ${turn}, ${what}`, result);
      tell(`${what}: ${each.toFixed(1)} KiB more of RSS for each socket`);
      return result;
    };
    // Whoever comes second in a round finds the machine a little warmer.
    const ours = (): Promise<Round> => one('shared', node.port, node.meter);
    const theirs = (): Promise<Round> => one('one execution per socket', plain.port, plain.meter);
    const [first, second] = turn % 2 === 0 ? [await ours(), await theirs()] : [await theirs(), await ours()];
    rounds.push(turn % 2 === 0 ? { ours: first, plain: second } : { ours: second, plain: first });
  }
  await plain.stop();

  // All of them come back at once, while the job goes on.
  await clients.ask('open', aimAt(node.port, SOCKETS));
  await clients.ask('collect', null);
  const from = job.lasting.length;
  const going = job.run(6 * EVENTS_A_SECOND);
  const { ms: reconnectMs } = await clients.ask('reopen', { port: node.port });
  await going;
  const due = job.lasting.slice(from);
  const arrived = new Map<number, number>();
  await waitFor(async () => {
    const { lasting, disordered } = await clients.ask('collect', null);
    if (disordered > 0) throw new Error(`${disordered} clients that came back saw events twice or out of order.`);
    for (const [sequence, times] of lasting) arrived.set(sequence, (arrived.get(sequence) ?? 0) + times);
    return due.every((sequence) => arrived.get(sequence) === SOCKETS);
  }, { timeoutMs: 30_000, message: () => `everybody to have everything: ${JSON.stringify(due.map((sequence) => [sequence, arrived.get(sequence)]))}` });
  await clients.ask('close', null);
  tell(`${SOCKETS} clients were back ${reconnectMs.toFixed(0)} ms after all were cut, and missed nothing`);

  // Two nodes, half of the sockets each, told by Redis.
  const redis = await startRedis();
  defer(() => redis.stop());
  const broker = startBroker({
    open: (onMessage) => openControl({ host: redis.host, port: redis.port }, { dial: createDial(ALLOW_EVERYTHING), log }, { onMessage }), channel: EVENTS_CHANNEL, log,
  }, { onMessage: quiet, onOpen: quiet });
  defer(() => broker.stop());
  const pair = [];
  for (const name of ['one', 'two']) {
    const started = await startServiceProcess({ dataDir: join(folder, name), profileDirectory: undefined, settings: { ...settings, EVENTS_REDIS_URL: `redis://${redis.host}:${redis.port}` }, token: node.token });
    defer(() => started.stop());
    pair.push(started);
  }
  const told = await startRunningJob(postgres.url, projectId, (topics) => broker.publish(topics.join(' ')));
  defer(() => told.stop());
  for (const { port } of pair) await clients.ask('open', aimAt(port, Math.floor(SOCKETS / 2), told));
  await follow(clients, 2 * Math.floor(SOCKETS / 2), told, pair.map(({ meter }) => meter), 3);
  const two = await follow(clients, 2 * Math.floor(SOCKETS / 2), told, pair.map(({ meter }) => meter), SECONDS);
  shown('two nodes with Redis', two);
  await clients.ask('close', null);

  const of = (value: (one: { ours: Round; plain: Round }) => number): number => median(rounds.map(value));
  return {
    bench: 'subscriptions', sockets: SOCKETS, p99Ms: of(({ ours }) => ours.p99), p99RatioToPlain: round(of(({ ours, plain: { p99 } }) => ours.p99 / p99), 3),
    cpuRatioToPlain: round(of(({ ours, plain: { cpuMicros } }) => ours.cpuMicros / cpuMicros), 3), delivered: Math.min(...rounds.map(({ ours }) => ours.delivered), two.delivered), rssKiBPerSocket: round(median(kib), 1),
    reconnectSeconds: round(reconnectMs / 1000, 2), plainP99Ms: of((one) => one.plain.p99), plainDelivered: Math.min(...rounds.map((one) => one.plain.delivered)), cpuMicros: round(of(({ ours }) => ours.cpuMicros), 1), twoNodesP99Ms: two.p99, twoNodesCpuMicros: round(two.cpuMicros, 1),
  };
});
