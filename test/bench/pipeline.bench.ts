import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, createReadStream, createWriteStream, openSync } from 'node:fs';
import { copyFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { RecordReader, type RecordConsumer, type RecordHead } from '../../server/engine/rdb/record-reader.js';
import { rdbVersionWrittenBy } from '../../server/engine/rdb/versions.js';
import { Batch, Unit } from '../../server/engine/target/pipeline/batch.js';
import { digest } from '../kit/digest.js';
import { makeTempDir, removeTempDir } from '../kit/processes.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { sleep } from '../kit/wait.js';
import { startPipelineProcess, type PipelineProcess } from './pipeline-process.js';
import { median, round, runBench, tell, toMiB } from './report.js';

const PAUSE_MS = 500;
/** One key, and ten more. */
const FEW = 'key:99999*';
const FEW_KEYS = 11;

interface DataSet {
  name: string;
  fill(server: RedisServer): Promise<void>;
}

const HASHES = "for i = 1, 8000 do local args = {} for f = 1, 500 do args[#args + 1] = 'field:' .. f args[#args + 1] = 'value ' .. i .. ' of field ' .. f .. string.rep('x', f % 60) end redis.call('HSET', 'hash:' .. i, unpack(args)) end";

/** @param keys of small strings */
const dataSets = (keys: number): DataSet[] => [
  { name: 'small', fill: async (server) => void (await server.cli('DEBUG', 'POPULATE', String(keys), 'key', '30')) },
  { name: 'hashes', fill: async (server) => void (await server.cli('EVAL', HASHES, '0')) },
];

/** Every key of an RDB as the RESTORE that the pipeline sends for it, in a file. Returns the number of keys. */
const buildCommands = async (rdb: string, file: string, server: RedisServer): Promise<number> => {
  const { version } = rdbVersionWrittenBy(server.engine, server.version);
  const out = createWriteStream(file);
  let batch = new Batch();
  let keys = 0;
  let head: RecordHead | undefined;
  let name = Buffer.alloc(0);
  const flush = (): void => {
    out.write(batch.bytes.subarray(0, batch.used));
    batch = new Batch();
  };
  const consumer: RecordConsumer = {
    onName: (its, bytes, from, to) => {
      head = its;
      name = Buffer.from(bytes.subarray(from, to));
      return true;
    },
    onValue: (bytes, from, to) => {
      if (!batch.hasRoom(name.length + to - from + 200)) flush();
      batch.unit(Unit.RESTORE, 1);
      batch.raw(Buffer.from('*5\r\n$7\r\nRESTORE\r\n'));
      batch.bulk(name, 0, name.length);
      batch.number(0);
      batch.payload(head?.rdbType ?? 0, bytes, from, to, version);
      batch.raw(Buffer.from('$7\r\nREPLACE\r\n'));
      keys += 1;
    },
    onLargeValue: () => { throw new Error('A value is too large for this benchmark'); },
    onFunction: () => undefined,
    onLargeFunction: () => undefined,
  };
  const reader = new RecordReader(consumer, { maxNameBytes: 1_024, maxValueBytes: 200_000 });
  for await (const chunk of createReadStream(rdb)) for (const _ of reader.read(chunk as Buffer));
  flush();
  out.end();
  await once(out, 'close');
  return keys;
};

const redisCliPipe = async (server: RedisServer, commands: string): Promise<number> => {
  const input = openSync(commands, 'r');
  const begun = performance.now();
  const child = spawn(server.binary.cli, ['-h', server.host, '-p', String(server.port), '--pipe'], { stdio: [input, 'ignore', 'inherit'] });
  closeSync(input);
  const [code] = (await once(child, 'exit')) as [number];
  if (code !== 0) throw new Error(`redis-cli --pipe ended with ${String(code)}`);
  return performance.now() - begun;
};

/** A fresh server, and that it then holds what it should. */
const into = async <T>(expected: string, work: (server: RedisServer) => Promise<T>): Promise<T> => {
  const server = await startRedis();
  try {
    await sleep(PAUSE_MS);
    const result = await work(server);
    const found = await digest(server);
    if (found !== expected) throw new Error(`The server holds ${found}, the source ${expected}`);
    return result;
  } finally {
    await server.stop();
  }
};

const selective = async (engine: PipelineProcess, at: { root: string; backupId: string }): Promise<{ verifyMs: number; selectMs: number }> => {
  const { ms: verifyMs } = await engine.ask('verify', at);
  const server = await startRedis();
  try {
    const { ms: selectMs, restored } = await engine.ask('restore', { ...at, port: server.port, options: { selection: { patterns: [FEW] } } });
    if (restored !== FEW_KEYS) throw new Error(`${String(restored)} keys instead of ${String(FEW_KEYS)}`);
    return { verifyMs, selectMs };
  } finally {
    await server.stop();
  }
};

await runBench(async (defer) => {
  const { values } = parseArgs({ options: { json: { type: 'boolean' }, keys: { type: 'string', default: '1000000' }, rounds: { type: 'string', default: '11' }, 'cpu-prof': { type: 'string' } } });
  const [keys, rounds] = [Number(values.keys), Number(values.rounds)];
  if (!(Number.isInteger(keys) && keys >= 1_000_000)) throw new Error(`--keys takes 1000000 or more, not "${values.keys}"`);
  const folder = makeTempDir('bench');
  defer(() => removeTempDir(folder));
  const engine = await startPipelineProcess(values['cpu-prof']);
  defer(() => engine.stop());
  const sets: Record<string, Record<string, number>> = {};
  const root = join(folder, 'store');
  const backupIds = ['bak_01hzy0000000000000000000a1', 'bak_01hzy0000000000000000000b2'];
  let selectiveRatio = NaN;

  for (const [index, set] of dataSets(keys).entries()) {
    const source = await startRedis();
    const [rdb, commands] = [join(folder, `${set.name}.rdb`), join(folder, `${set.name}.commands`)];
    let expected: string;
    let count: number;
    try {
      await set.fill(source);
      expected = await digest(source);
      await source.cli('SAVE');
      await copyFile(join(source.dir, 'dump.rdb'), rdb);
      count = await buildCommands(rdb, commands, source);
    } finally {
      await source.stop();
    }
    const at = { root, backupId: backupIds[index] ?? '' };
    await engine.ask('archive', { file: rdb, ...at });
    tell(`${set.name}: ${String(count)} keys, ${toMiB((await stat(rdb)).size).toFixed(0)} MiB of RDB, ${toMiB((await stat(commands)).size).toFixed(0)} MiB of commands`);

    const ratios: number[] = [];
    const speeds: number[] = [];
    const growths: number[] = [];
    const wholes: number[] = [];
    for (let at_ = 0; at_ < rounds; at_ += 1) {
      const cli = await into(expected, (server) => redisCliPipe(server, commands));
      const idle = engine.meter.rss;
      engine.meter.resetPeak();
      const ours = await into(expected, (server) => engine.ask('restore', { ...at, port: server.port, options: {} }));
      ratios.push(cli / ours.loadMs);
      speeds.push((count / ours.loadMs) * 1_000);
      growths.push(toMiB(engine.meter.peakRss - idle));
      wholes.push(ours.ms / ours.loadMs);
      tell(`${set.name} ${String(at_)}: redis-cli --pipe ${cli.toFixed(0)} ms, ours ${String(ours.loadMs)} ms (${ours.ms.toFixed(0)} with the check of the archive), ratio ${(cli / ours.loadMs).toFixed(3)}, RSS +${growths.at(-1)?.toFixed(0) ?? ''} MiB; digests equal`);
    }
    sets[set.name] = {
      pipelineRatioToRedisCliPipe: round(median(ratios), 3), ratioMin: round(Math.min(...ratios), 3), ratioMax: round(Math.max(...ratios), 3),
      pipelineKeysPerSecond: Math.round(median(speeds)), withCheckOfArchive: round(median(wholes), 2), rssGrowthMiB: round(Math.max(...growths), 1),
    };
    if (set.name === 'small') {
      const found: number[] = [];
      for (let turn = 0; turn < rounds; turn += 1) {
        const { verifyMs, selectMs } = await selective(engine, at);
        found.push(selectMs / verifyMs);
        tell(`${String(FEW_KEYS)} keys of ${String(count)}: verify ${verifyMs.toFixed(0)} ms, selective restore ${selectMs.toFixed(0)} ms`);
      }
      selectiveRatio = median(found);
    }
  }
  const small = sets['small'] ?? {};
  return {
    bench: 'pipeline',
    pipelineRatioToRedisCliPipe: small['pipelineRatioToRedisCliPipe'],
    pipelineKeysPerSecond: small['pipelineKeysPerSecond'],
    rssGrowthMiB: Math.max(...Object.values(sets).map((set) => set['rssGrowthMiB'] ?? 0)),
    selectiveRatioToVerify: round(selectiveRatio, 3),
    sets,
  };
});
