import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makeTempDir, removeTempDir } from '../kit/processes.js';
import { startRedis } from '../kit/redis.js';
import { median, round, runBench, tell, toMiB } from './report.js';
import { startServiceProcess, type ServiceProcess } from './service-process.js';

const ROUNDS = 7;
const PREFIXES = 100;

/** What a job took from its beginning to its end, in milliseconds. */
const timed = async ({ sdk }: ServiceProcess, started: Promise<{ job: { id: string } }>): Promise<number> => {
  const { startedAt, completedAt } = await sdk.jobs.wait((await started).job);
  return Date.parse(completedAt ?? '') - Date.parse(startedAt ?? '');
};

/* A million small keys, looked into and verified by turns. `--json` is accepted and changes nothing. */
await runBench(async (defer) => {
  const { values } = parseArgs({ options: { json: { type: 'boolean' }, keys: { type: 'string', default: '1000000' }, 'cpu-prof': { type: 'string' } } });
  const keys = Math.max(PREFIXES, Number(values.keys));
  const folder = makeTempDir('bench');
  defer(() => removeTempDir(folder));
  const service = await startServiceProcess({ dataDir: join(folder, 'data'), profileDirectory: values['cpu-prof'] });
  defer(() => service.stop());
  const source = await startRedis();
  defer(() => source.stop());
  for (let at = 0; at < PREFIXES; at += 1) await source.cli('DEBUG', 'POPULATE', String(Math.floor(keys / PREFIXES)), `prefix${String(at)}`, '16');
  const { sdk, meter } = service;
  const instance = await sdk.instances.register({ name: 'source', host: source.host, port: source.port });
  const backup = await sdk.backups.wait(await sdk.backups.create({ instanceId: instance.id, name: 'bench' }), {});
  await source.stop();

  const times: Record<'verify' | 'inspect' | 'select', number[]> = { verify: [], inspect: [], select: [] };
  const idleRss = meter.rss;
  meter.resetPeak();
  for (let at = 0; at <= ROUNDS; at += 1) {
    const verify = await timed(service, sdk.backups.verify(backup));
    const inspect = await timed(service, sdk.backups.inspect(backup));
    const select = await timed(service, sdk.backups.inspect({ backupId: backup.id, filter: { patterns: ['prefix7:*1', '*nothing*'], types: ['STRING'] } }));
    tell(`round ${String(at)}: verify ${String(verify)} ms, inspect ${String(inspect)} ms, with a filter ${String(select)} ms`);
    // The first one warms up.
    if (at === 0) continue;
    times.verify.push(verify);
    times.inspect.push(inspect);
    times.select.push(select);
  }
  const [verifyMs, inspectMs, selectMs] = [median(times.verify), median(times.inspect), median(times.select)];
  return {
    bench: 'inspect', node: process.version, keys: Number(backup.keys), verifyMs, inspectMs, selectMs, ratioToVerify: round(inspectMs / verifyMs, 2), selectRatioToVerify: round(selectMs / verifyMs, 2),
    rssGrowthMiB: round(toMiB(meter.peakRss - idleRss), 1),
  };
});
