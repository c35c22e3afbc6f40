import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { keyCounts } from '../kit/digest.js';
import { fillBytes } from '../kit/fill.js';
import { makeTempDir, removeTempDir } from '../kit/processes.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { sleep } from '../kit/wait.js';
import { readOptions } from './options.js';
import { measureParallel } from './parallel-backup.js';
import { median, round, runBench, tell, toMiB } from './report.js';
import { measureSmall } from './small-backup.js';
import { startS3Process } from './s3-process.js';
import { startServiceProcess, type ServiceProcess } from './service-process.js';

/** Servers do not start the next save right after the last one. */
const PAUSE_MS = 1_500;

const run = promisify(execFile);

/** What the last run left to be written, redis-cli's whole file for one, is not to be written during the next one. */
const settle = async (): Promise<void> => {
  await run('sync');
  await sleep(PAUSE_MS);
};

/** The reference: one `redis-cli --rdb`, its process start included. */
const measureRedisCli = async (source: RedisServer, file: string): Promise<number> => {
  await rm(file, { force: true });
  await settle();
  const startedAt = performance.now();
  await run(source.binary.cli, ['-h', source.host, '-p', String(source.port), '--rdb', file]);
  return performance.now() - startedAt;
};

interface OurRun {
  backupId: string;
  ms: number;
  idleRss: number;
  peakRss: number;
  cpuSeconds: number;
}

/** Ours: `backupNow` sent until its COMPLETED event has come. */
const measureService = async ({ sdk, meter }: ServiceProcess, instanceId: string, name: string): Promise<OurRun> => {
  await settle();
  const idleRss = meter.rss;
  const cpuBefore = meter.cpuSeconds;
  meter.resetPeak();
  const startedAt = performance.now();
  const { backup, job } = await sdk.backups.create({ instanceId, name });
  await sdk.jobs.wait(job);
  const ms = performance.now() - startedAt;
  return { backupId: backup.id, ms, idleRss, peakRss: meter.peakRss, cpuSeconds: meter.cpuSeconds - cpuBefore };
};

/** A fast but wrong backup is worth nothing: what a download gives has to be what was announced, and hold every key. */
const checkBackup = async ({ sdk }: ServiceProcess, backupId: string, source: RedisServer): Promise<number> => {
  const backup = await sdk.backups.get(backupId);
  if (backup?.state !== 'AVAILABLE') throw new Error(`Backup ${backupId} is ${String(backup?.state)}`);
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of await sdk.backups.download(backupId)) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  const sha256 = hash.digest('hex');
  if (sha256 !== backup.sha256 || BigInt(bytes) !== BigInt(backup.sizeBytes ?? 0)) {
    throw new Error(`The download has ${bytes} bytes and SHA-256 ${sha256}, the backup says ${String(backup.sizeBytes)} and ${String(backup.sha256)}`);
  }
  const expected = Object.values(await keyCounts(source)).reduce((sum, keys) => sum + keys, 0);
  if (BigInt(backup.keys ?? -1) !== BigInt(expected)) throw new Error(`The backup holds ${String(backup.keys)} keys, the server ${expected}`);
  return bytes;
};

await runBench(async (defer) => {
  const { small, mib, data, unit, store, parallel, pairs: wanted, profileDirectory } = readOptions();
  const folder = makeTempDir('bench');
  defer(() => removeTempDir(folder));
  if (small) return measureSmall(folder, defer, { redisCli: measureRedisCli, ours: measureService, check: checkBackup });
  const servers: RedisServer[] = [];
  let keys = 0;
  for (let at = 0; at < parallel; at += 1) {
    const server = await startRedis();
    defer(() => server.stop());
    ({ keys } = await fillBytes(server, { mib: mib + Math.ceil(mib / 50), ...(unit ? { unit } : {}) }));
    servers.push(server);
  }
  const [source] = servers;
  if (!source) throw new Error('No server was started');
  const s3 = store === 's3' ? await startS3Process() : undefined;
  if (s3) defer(() => s3.stop());
  const service = await startServiceProcess({ dataDir: join(folder, 'data'), profileDirectory, settings: s3?.settings ?? {} });
  defer(() => service.stop());
  const instanceIds: string[] = [];
  for (const [at, { host, port }] of servers.entries()) instanceIds.push((await service.sdk.instances.register({ name: `bench ${String(at)}`, host, port })).id);
  if (parallel > 1) {
    tell(`${parallel} servers ${source.engine} ${source.version}, each filled with ${keys} keys`);
    const measured = await measureParallel({ servers, instanceIds, service, folder }, (backupId, at) => checkBackup(service, backupId, servers[at] ?? source));
    return { bench: 'backup', data, sizeMiB: mib, parallel, ...measured };
  }
  const [instanceId = ''] = instanceIds;
  tell(`${source.engine} ${source.version} filled with ${keys} keys; ${wanted} pairs, the first is dropped: it warms caches and the just-in-time compiler`);

  const file = join(folder, 'redis-cli.rdb');
  const pairs: { ratio: number; ours: OurRun }[] = [];
  for (let pair = 0; pair < wanted; pair += 1) {
    const theirs = await measureRedisCli(source, file);
    const ours = await measureService(service, instanceId, `run ${pair}`);
    const ratio = ours.ms / theirs;
    pairs.push({ ratio, ours });
    tell(
      `pair ${pair}: redis-cli ${theirs.toFixed(0)} ms, ours ${ours.ms.toFixed(0)} ms, ratio ${ratio.toFixed(3)}, CPU ${ours.cpuSeconds.toFixed(2)} s, ` +
      `RSS ${toMiB(ours.idleRss).toFixed(0)} -> ${toMiB(ours.peakRss).toFixed(0)} MiB`,
    );
    if (pair < wanted - 1) await service.sdk.backups.delete({ backupId: ours.backupId, force: true });
  }
  const last = pairs.at(-1);
  if (!last) throw new Error('No pair was run');
  const bytes = await checkBackup(service, last.ours.backupId, source);
  tell(`checked: ${bytes} bytes, SHA-256 and key count are right; redis-cli's file has ${(await stat(file)).size} bytes`);

  const counted = pairs.slice(1);
  const ratios = counted.map(({ ratio }) => ratio);
  return {
    bench: 'backup',
    data,
    ...(store === 's3' ? { store } : {}),
    sizeMiB: round(toMiB(bytes), 1),
    ratioToRedisCli: round(median(ratios), 3),
    ratioMin: round(Math.min(...ratios), 3),
    ratioMax: round(Math.max(...ratios), 3),
    rssGrowthMiB: round(Math.max(...counted.map(({ ours }) => toMiB(ours.peakRss - ours.idleRss))), 1),
    peakRssMiB: round(Math.max(...pairs.map(({ ours }) => toMiB(ours.peakRss))), 1),
    cpuSecondsPerGiB: round(median(counted.map(({ ours }) => (ours.cpuSeconds * 2 ** 30) / bytes)), 2),
  };
});
