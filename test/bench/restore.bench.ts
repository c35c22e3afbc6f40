import { createWriteStream } from 'node:fs';
import { cp, mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { digest } from '../kit/digest.js';
import { fillBytes } from '../kit/fill.js';
import { makeTempDir, removeTempDir } from '../kit/processes.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { sleep } from '../kit/wait.js';
import { measureBareLink } from './bare-link.js';
import { readOptions } from './options.js';
import { median, round, runBench, tell, toMiB } from './report.js';
import { startServiceProcess, type ServiceProcess } from './service-process.js';

/** Rounds of less than a second scatter the most. */
const roundsOf = (mib: number): number => (mib < 64 ? 15 : 9);
const PAUSE_MS = 1_500;

const LOAD_TIMEOUT_MS = 10 * 60_000;

/** What a server's log says its start-up load of `file` took, in milliseconds. The copy has just been written, so it is in the page cache. */
const measureNativeLoad = async (file: string, folder: string, expected: string): Promise<number> => {
  const dir = join(folder, 'native');
  await mkdir(dir, { recursive: true });
  await cp(file, join(dir, 'dump.rdb'));
  await sleep(PAUSE_MS);
  const server = await startRedis({ dir, startTimeoutMs: LOAD_TIMEOUT_MS });
  try {
    const seconds = /DB loaded from disk: ([\d.]+) seconds/.exec(server.log())?.[1];
    if (seconds === undefined) throw new Error('The server did not say how long its load took');
    await expectDigest(server, expected);
    return Number(seconds) * 1_000;
  } finally {
    await server.stop();
    await rm(dir, { recursive: true });
  }
};

const startTarget = (disklessLoad: string | undefined): Promise<RedisServer> => startRedis({ config: disklessLoad === undefined ? {} : { 'repl-diskless-load': disklessLoad } });

/** What a restore into a fresh, empty server reports, `REPLICAOF` sent until the load was acknowledged, in milliseconds; and what it added to the memory. */
const measureRestore = async ({ sdk, meter }: ServiceProcess, backupId: string, disklessLoad: string | undefined, name: string, expected: string): Promise<{ ms: number; rssGrowth: number }> => {
  const target = await startTarget(disklessLoad);
  try {
    const instance = await sdk.instances.register({ name, host: target.host, port: target.port });
    const plan = await sdk.restores.plan({ backupId, instanceId: instance.id, safetyBackup: false, pauseWrites: false, disklessLoad: disklessLoad === undefined });
    if (plan.blockers.length > 0) throw new Error(`The restore is blocked: ${JSON.stringify(plan.blockers)}`);
    await sleep(PAUSE_MS);
    const idleRss = meter.rss;
    meter.resetPeak();
    const { restore } = await sdk.restores.run({
      planId: plan.id, confirmation: name, acceptedWarnings: plan.warnings.filter((warning) => warning.mustAccept).map((warning) => warning.name),
    });
    const { report } = await sdk.restores.wait(restore);
    if (typeof report?.loadMs !== 'number') throw new Error('The restore reports no time of its load');
    const rssGrowth = meter.peakRss - idleRss;
    await expectDigest(target, expected);
    if (disklessLoad === undefined && !(await target.cli('CONFIG', 'GET', 'repl-diskless-load')).includes('disabled')) throw new Error('The restore has left its setting behind');
    await sdk.instances.remove({ instanceId: instance.id });
    return { ms: report.loadMs, rssGrowth };
  } finally {
    await target.stop();
  }
};

/** The same into a fresh, empty server that loads the same way, from a master that does nothing but send. */
const measureBare = async (file: string, disklessLoad: string | undefined, expected: string): Promise<number> => {
  const target = await startTarget(disklessLoad ?? 'swapdb');
  try {
    await sleep(PAUSE_MS);
    const ms = await measureBareLink(target, file);
    await expectDigest(target, expected);
    return ms;
  } finally {
    await target.stop();
  }
};

const expectDigest = async (server: RedisServer, expected: string): Promise<void> => {
  const found = await digest(server);
  if (found !== expected) throw new Error(`The server holds ${found}, the source ${expected}`);
};

await runBench(async (defer) => {
  const { mib, data, unit, disklessLoad, profileDirectory } = readOptions();
  const folder = makeTempDir('bench');
  defer(() => removeTempDir(folder));
  const service = await startServiceProcess({ dataDir: join(folder, 'data'), profileDirectory });
  defer(() => service.stop());
  const file = join(folder, 'backup.rdb');

  const source = await startRedis();
  defer(() => source.stop());
  const { keys } = await fillBytes(source, { mib: mib + Math.ceil(mib / 50), ...(unit ? { unit } : {}) });
  const expected = await digest(source);
  const instance = await service.sdk.instances.register({ name: 'source', host: source.host, port: source.port });
  const created = await service.sdk.backups.create({ instanceId: instance.id, name: 'bench' });
  await service.sdk.backups.wait(created);
  await service.sdk.backups.download(created, { to: Writable.toWeb(createWriteStream(file)) });
  const { size } = await stat(file);
  const rounds = roundsOf(mib);
  await source.stop();
  tell(`${source.engine} ${source.version}, ${keys} keys, ${toMiB(size).toFixed(0)} MiB; ${rounds} rounds`);

  const ratios: number[] = [];
  const bareRatios: number[] = [];
  const ratiosToBare: number[] = [];
  const growths: number[] = [];
  for (let at = 0; at < rounds; at += 1) {
    const native = await measureNativeLoad(file, folder, expected);
    const bare = await measureBare(file, disklessLoad, expected);
    const { ms, rssGrowth } = await measureRestore(service, created.backup.id, disklessLoad, `target ${at}`, expected);
    ratios.push(ms / native);
    bareRatios.push(bare / native);
    ratiosToBare.push(ms / bare);
    growths.push(toMiB(rssGrowth));
    tell(`round ${at}: start-up load ${native.toFixed(0)} ms, bare link ${bare.toFixed(0)} ms, ours ${ms} ms, ratio ${(ms / native).toFixed(3)}, RSS +${toMiB(rssGrowth).toFixed(0)} MiB; digests equal`);
  }
  return {
    bench: 'restore',
    data,
    disklessLoad: disklessLoad ?? 'set by the restore',
    keys,
    sizeMiB: round(toMiB(size), 1),
    ratioToNativeLoad: round(median(ratios), 3),
    ratioMin: round(Math.min(...ratios), 3),
    ratioMax: round(Math.max(...ratios), 3),
    bareLinkRatioToNativeLoad: round(median(bareRatios), 3),
    ratioToBareLink: round(median(ratiosToBare), 3),
    rssGrowthMiB: round(Math.max(...growths), 1),
  };
});
