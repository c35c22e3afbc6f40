import { join } from 'node:path';
import { fillBytes } from '../kit/fill.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { EVERYDAY_DATA } from './everyday-data.js';
import { median, round, tell } from './report.js';
import { startServiceProcess, type ServiceProcess } from './service-process.js';

/** The first pair warms caches and the just-in-time compiler, and is dropped. */
const PAIRS = 6;
/** What servers have by themselves from 7.0 on, where the kit's have none. */
const DEFAULTS = { save: '3600 1 300 100 60 10000', 'repl-diskless-sync': 'yes', 'repl-diskless-sync-delay': '5' };

export interface SmallRuns {
  redisCli(source: RedisServer, file: string): Promise<number>;
  ours(service: ServiceProcess, instanceId: string, name: string): Promise<{ backupId: string; ms: number }>;
  check(service: ServiceProcess, backupId: string, source: RedisServer): Promise<number>;
}

/**
 * A megabyte, on a server that nobody has tuned: what one waits for is the server's delay, which `redis-cli --rdb` pays and an instance with
 * `skipSyncDelay` does not. Each backup is checked, and that its server was left as it was.
 */
export const measureSmall = async (folder: string, defer: (undo: () => Promise<void>) => void, runs: SmallRuns): Promise<Record<string, unknown>> => {
  const source = await startRedis({ config: DEFAULTS });
  defer(() => source.stop());
  const { keys } = await fillBytes(source, { mib: 1, unit: EVERYDAY_DATA });
  const service = await startServiceProcess({ dataDir: join(folder, 'data'), profileDirectory: undefined });
  defer(() => service.stop());
  const { id: instanceId } = await service.sdk.instances.register({ name: 'small', host: source.host, port: source.port, skipSyncDelay: true });
  tell(`${source.engine} ${source.version} with its default settings, ${keys} keys; ${PAIRS} pairs, the first is dropped`);

  const pairs: { theirs: number; ours: number }[] = [];
  for (let pair = 0; pair < PAIRS; pair += 1) {
    const theirs = await runs.redisCli(source, join(folder, 'redis-cli.rdb'));
    const { backupId, ms: ours } = await runs.ours(service, instanceId, `run ${pair}`);
    const bytes = await runs.check(service, backupId, source);
    const said = await leftAsItWas(service, backupId, source);
    pairs.push({ theirs, ours });
    tell(`pair ${pair}: redis-cli ${theirs.toFixed(0)} ms, ours ${ours.toFixed(0)} ms, ratio ${(ours / theirs).toFixed(3)}; ${bytes} bytes are right; ${said}`);
  }
  const counted = pairs.slice(1);
  const ratios = counted.map(({ theirs, ours }) => ours / theirs);
  return {
    bench: 'backup',
    small: true,
    ratioToRedisCli: round(median(ratios), 3),
    ratioMin: round(Math.min(...ratios), 3),
    ratioMax: round(Math.max(...ratios), 3),
    medianMs: Math.round(median(counted.map(({ ours }) => ours))),
    redisCliMedianMs: Math.round(median(counted.map(({ theirs }) => theirs))),
  };
};

const leftAsItWas = async ({ sdk }: ServiceProcess, backupId: string, source: RedisServer): Promise<string> => {
  const [, delay] = (await source.cli('CONFIG', 'GET', 'repl-diskless-sync-delay')).split('\n');
  if (delay !== DEFAULTS['repl-diskless-sync-delay']) throw new Error(`The server is left with a delay of ${String(delay)}`);
  const job = await sdk.jobs.get((await sdk.backups.get(backupId))?.job?.id ?? '');
  const skipped = job?.notices.find(({ code }) => code === 'SYNC_DELAY_SKIPPED');
  if (!skipped) throw new Error(`The delay was not skipped: ${JSON.stringify(job?.notices)}`);
  return skipped.message;
};
