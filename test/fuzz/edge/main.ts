/*
 * `npm run fuzz:edge -- --minutes N --seed N`: sends what is no request, or nearly one, to a service in a process of its own, over HTTP, WebSockets and
 * event streams, with and without a key. Prints one line of JSON; exit code 1 when the process ended, answered with a fault of its own, logged one, or
 * kept what it should have let go. The same seed gives the same inputs.
 */
import { randomInt } from 'node:crypto';
import { connect } from 'node:net';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startEmbeddedPostgres } from '../../../server/embedded/postgres.js';
import { ProcessMeter } from '../../bench/process-meter.js';
import { firstKeyOf, startNode } from '../../kit/node-process.js';
import { guardProcess, makeTempDir, releaseProcess, removeTempDir } from '../../kit/processes.js';
import { sleep, waitFor } from '../../kit/wait.js';
import { randomOf, type Random } from '../rdb/random.js';
import { frames, httpRequest, upgradeRequest } from './requests.js';

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '1' }, seed: { type: 'string', default: String(randomInt(1, 1_000_000)) }, from: { type: 'string', default: '0' } } });
const [minutes, seed, from] = [Number(values.minutes), Number(values.seed), Number(values.from)];
if (!(minutes > 0) || !Number.isInteger(seed) || !Number.isInteger(from)) {
  process.stderr.write('Usage: npm run fuzz:edge -- [--minutes N] [--seed N] [--from N]\n');
  process.exit(2);
}
const say = (text: string): void => void process.stderr.write(`fuzz:edge: ${text}\n`);

/** Connections at once. */
const TOGETHER = 24;
/** A connection that the service neither answers nor cuts is left after this. */
const PATIENCE_MS = 1_500;
const MOST_GROWTH_MIB = 96;

interface Target {
  port: number;
  key: string;
}

/** Sends one input and resolves with what came back once the connection has ended, or this side has left it. */
const send = ({ port, key }: Target, number: number): Promise<string> => new Promise((resolve) => {
  const random: Random = randomOf(seed, number);
  const socket = connect({ host: '127.0.0.1', port });
  let answer = '';
  const leave = setTimeout(() => socket.destroy(), random(3) === 0 ? random(60) : PATIENCE_MS);
  socket.on('error', () => undefined).once('close', () => {
    clearTimeout(leave);
    resolve(answer);
  });
  // Some take nothing of what they are sent.
  if (random(6) > 0) socket.on('data', (piece: Buffer) => { if (answer.length < 100_000) answer += piece.toString('latin1'); });
  const upgraded = random(2) === 0;
  const first = upgraded ? Buffer.concat([upgradeRequest(random), frames(random, key)]) : Buffer.concat(Array.from({ length: 1 + random(3) }, () => httpRequest(random, key)));
  // In pieces, whose borders are anywhere.
  const cut = random(first.length + 1);
  socket.write(first.subarray(0, cut));
  const rest = first.subarray(cut);
  setImmediate(() => {
    if (socket.destroyed) return;
    socket.write(rest);
    if (random(4) === 0) socket.end();
  });
});

/** Refusals have codes of their own; these say that something went wrong inside. */
const faultIn = (answer: string): string | null => /HTTP\/1\.1 (500|502|504) [^\r]*/.exec(answer)?.[0] ?? /"code":"INTERNAL"/.exec(answer)?.[0] ?? null;

const folder = makeTempDir('fuzz-edge');
const quiet = (): void => undefined;
const database = await startEmbeddedPostgres({ dataDir: join(folder, 'postgres'), log: { debug: quiet, info: quiet, warn: quiet, error: quiet }, settings: { fsync: 'off' } });
guardProcess(database.pid, 'QUIT');
const facts = { databaseUrl: database.url, storeRoot: join(folder, 'store'), masterKey: '5a'.repeat(32) };
// Points and places are not what is looked for here.
const node = await startNode(facts, { env: { SAMPLE_REDIS: 'false', RATE_LIMIT_POINTS: '1000000000', MAX_SOCKETS_OF_KEY: '5000', LOG_FORMAT: 'json', LOG_LEVEL: 'info' } });
const problems: string[] = [];
let inputs = from;
try {
  const target = { port: Number(new URL(node.url).port), key: await firstKeyOf([node]) };
  const meter = new ProcessMeter(node.pid);
  say(`seed ${seed}, from ${from}`);
  const until = performance.now() + minutes * 60_000;
  let settledRss = 0;
  const one = async (): Promise<void> => {
    while (performance.now() < until && problems.length === 0) {
      const number = inputs++;
      const fault = faultIn(await send(target, number));
      if (fault !== null) problems.push(`input ${number} was answered with ${fault}`);
      if (!node.running() && problems.length === 0) problems.push(`the service ended near input ${number}`);
      // Caches and the just-in-time compiler have what they need after the first thousands.
      if (number === from + 4_000) settledRss = meter.rss;
    }
  };
  await Promise.all(Array.from({ length: TOGETHER }, one));
  say(`${inputs - from} inputs sent`);
  if (node.running()) {
    if (settledRss > 0 && (meter.rss - settledRss) / 2 ** 20 > MOST_GROWTH_MIB) problems.push(`the service grew by ${((meter.rss - settledRss) / 2 ** 20).toFixed(0)} MiB`);
    await waitFor(async () => (await node.connections()) === 0, { timeoutMs: 70_000 }).catch(() => problems.push('connections are still open after 70 s'));
    const client = node.client(target.key);
    if ((await client.viewer()).role !== 'ADMIN') problems.push('its first key is not what it was');
    if ((await node.ready()).status !== 200) problems.push('the service is not ready any more');
  }
  await sleep(100);
  for (const line of node.output().split('\n').filter((text) => /"level":"error"|fault that nobody expected/.test(text)).slice(0, 5)) problems.push(`it logged ${line.slice(0, 1_000)}`);
} finally {
  await node.dispose();
  await database.stop();
  releaseProcess(database.pid);
  await removeTempDir(folder);
}
for (const problem of problems) say(problem);
process.stdout.write(`${JSON.stringify({ fuzz: 'edge', minutes, seed, inputs: inputs - from, faults: problems.length })}\n`);
process.exit(problems.length === 0 ? 0 : 1);
