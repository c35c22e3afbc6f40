import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type RedisServer } from '../kit/redis.js';
import { sleep, waitFor } from '../kit/wait.js';
import { EVENT_LOOP_TICK_MS } from '../../server/telemetry/metrics.js';
import { ProcessMeter } from './process-meter.js';
import { median, round, tell } from './report.js';
import { type ServiceProcess } from './service-process.js';

/** The first round warms caches and the just-in-time compiler, and is dropped. */
const ROUNDS = 4;
const PAUSE_MS = 1_500;
const CALL_EVERY_MS = 20;
const run = promisify(execFile);

type Client = ReturnType<RedisServer['client']>;

interface Place {
  servers: readonly RedisServer[];
  instanceIds: readonly string[];
  service: ServiceProcess;
  folder: string;
}

/** Four saves at once are the servers' affair; whoever takes them shall add little to it. */
const byRedisCli = async ({ servers, folder }: Place): Promise<void> => {
  await Promise.all(servers.map(({ binary, host, port }, at) => run(binary.cli, ['-h', host, '-p', String(port), '--rdb', join(folder, `cli-${String(at)}.rdb`)])));
};

const byService = async ({ service: { sdk }, instanceIds }: Place): Promise<string[]> => {
  const made = await Promise.all(instanceIds.map((instanceId) => sdk.backups.create({ instanceId, name: 'parallel' })));
  await Promise.all(made.map(({ job }) => sdk.jobs.wait(job)));
  return made.map(({ backup }) => backup.id);
};

/** Seconds that the servers and the children that saved for them have used. */
const serversCpu = async (clients: readonly Client[]): Promise<number> => {
  const each = await Promise.all(clients.map(async (client) => {
    // A child counts when it has ended and has been waited for.
    const info = await waitFor(async () => {
      const text = String(await client.call('INFO', 'all'));
      const found = Object.fromEntries([...text.matchAll(/^(\w+):(.*)\r$/gm)].map(([, name, value]) => [name, value] as const));
      return found['rdb_bgsave_in_progress'] === '0' ? found : undefined;
    });
    return ['used_cpu_sys', 'used_cpu_user', 'used_cpu_sys_children', 'used_cpu_user_children'].reduce((sum, name) => sum + Number(info[name]), 0);
  }));
  return each.reduce((sum, seconds) => sum + seconds, 0);
};

const measureCpu = async (watched: readonly Client[], takersCpu: () => number, work: () => Promise<unknown>): Promise<number> => {
  const [takers, servers] = [takersCpu(), await serversCpu(watched)];
  await work();
  return takersCpu() - takers + (await serversCpu(watched)) - servers;
};

interface Served {
  /** Milliseconds that calls of the API took, one each 20 ms. */
  latencies: number[];
  loopDelayP99Ms: number;
}

/** How the API answers while `work` is done. */
const measureApi = async ({ service }: Place, work: () => Promise<unknown>): Promise<Served> => {
  const latencies: number[] = [];
  await service.metric('nodejs_eventloop_lag_p99_seconds');
  let over = false;
  const calls: Promise<void>[] = [];
  const calling = (async () => {
    while (!over) {
      const startedAt = performance.now();
      calls.push(service.sdk.backups.list({}).first().then(() => void latencies.push(performance.now() - startedAt)));
      await sleep(CALL_EVERY_MS);
    }
  })();
  await work();
  over = true;
  await calling;
  await Promise.all(calls);
  // What Node's histogram holds is the time from one tick of its timer to the next, not what a tick was late by.
  return { latencies, loopDelayP99Ms: 1_000 * (await service.metric('nodejs_eventloop_lag_p99_seconds')) - EVENT_LOOP_TICK_MS };
};

const p99 = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length * 0.99)] ?? Number.NaN;

/** CPU time of the children of this process that have ended and been waited for. */
const endedChildrenCpu = (): number => {
  const stat = readFileSync('/proc/self/stat', 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[13]) + Number(fields[14])) / ProcessMeter.ticksPerSecond;
};

/** One filled server each for `instanceIds`. What it returns is the result without the check of what the backups hold, which `check` does. */
export const measureParallel = async (place: Place, check: (backupId: string, at: number) => Promise<unknown>): Promise<Record<string, number>> => {
  const { service, servers, folder } = place;
  // Not through redis-cli, whose CPU would be counted.
  const watched = servers.map((server) => server.client());
  const settle = async (): Promise<void> => {
    for (const at of servers.keys()) await rm(join(folder, `cli-${String(at)}.rdb`), { force: true });
    await run('sync');
    await sleep(PAUSE_MS);
  };
  const backups: string[] = [];
  const take = async (): Promise<void> => void backups.push(...(await byService(place)));
  const ratios: number[] = [];
  const delays: { theirs: number[]; ours: number[] } = { theirs: [], ours: [] };
  const latencies: { theirs: number[]; ours: number[] } = { theirs: [], ours: [] };
  for (let at = 0; at < ROUNDS; at += 1) {
    await settle();
    const theirCpu = await measureCpu(watched, endedChildrenCpu, () => byRedisCli(place));
    await settle();
    const ourCpu = await measureCpu(watched, () => service.meter.cpuSeconds, take);
    await settle();
    const theirs = await measureApi(place, () => byRedisCli(place));
    await settle();
    const ours = await measureApi(place, take);
    tell(
      `round ${String(at)}: CPU of redis-cli and servers ${theirCpu.toFixed(2)} s, of us and servers ${ourCpu.toFixed(2)} s, ratio ${(ourCpu / theirCpu).toFixed(3)}; ` +
      `API p99 ${p99(theirs.latencies).toFixed(1)} and ${p99(ours.latencies).toFixed(1)} ms of ${String(theirs.latencies.length)} and ${String(ours.latencies.length)} calls, loop delay p99 ${theirs.loopDelayP99Ms.toFixed(1)} and ${ours.loopDelayP99Ms.toFixed(1)} ms`,
    );
    if (at > 0) {
      ratios.push(ourCpu / theirCpu);
      delays.theirs.push(theirs.loopDelayP99Ms);
      delays.ours.push(ours.loopDelayP99Ms);
      latencies.theirs.push(...theirs.latencies);
      latencies.ours.push(...ours.latencies);
    }
    if (at === ROUNDS - 1) for (const [i, id] of backups.slice(-servers.length).entries()) await check(id, i);
    for (const id of backups.splice(0)) await service.sdk.backups.delete({ backupId: id, force: true });
  }
  return {
    cpuRatio: round(median(ratios), 3),
    loopDelayP99Ms: round(median(delays.ours), 1),
    loopDelayP99MaxMs: round(Math.max(...delays.ours), 1),
    // While others take the data and this service does nothing but answer: what this machine leaves it.
    idleLoopDelayP99Ms: round(median(delays.theirs), 1),
    apiP99Ratio: round(p99(latencies.ours) / p99(latencies.theirs), 3),
    apiP99Ms: round(p99(latencies.ours), 1),
  };
};
