import { type ChildProcess, execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startEmbeddedPostgres } from '../../server/embedded/postgres.js';
import { exited, guardProcess, makeTempDir, releaseProcess, removeTempDir } from '../kit/processes.js';
import type { FromServer, ServerKind, ToServer } from './api-server.js';
import { fillWithBackups } from './backup-crowd.js';
import { graphqlRequest, load } from './http-load.js';
import { ProcessMeter } from './process-meter.js';
import { median, round, runBench, tell } from './report.js';

/** `--json` is accepted and changes nothing: the last line of standard output is always the result. */
const { values } = parseArgs({
  options: {
    json: { type: 'boolean' }, backups: { type: 'string', default: '1000000' }, rounds: { type: 'string', default: '7' }, seconds: { type: 'string', default: '4' },
    connections: { type: 'string', default: '16' }, 'cpu-prof': { type: 'string' },
  },
});
const [BACKUPS, ROUNDS, SECONDS, CONNECTIONS] = [Number(values.backups), Number(values.rounds), Number(values.seconds), Number(values.connections)];

/** What a dashboard shows of a page of backups. */
const QUERY = `query Page($after: String) {
  backups(first: 20, after: $after) {
    nodes {
      id name state trigger engineVersion sizeBytes keys createdAt startedAt completedAt durationMs expiresAt retainedBecause
      instance { id name host port }
      job { id kind state conclusion attempt completedAt }
    }
    pageInfo { hasNextPage endCursor }
  }
}`;
const LAST = '{ backups(last: 21) { edges { cursor } } }';
const COUNTED = '{ backups(first: 20) { totalCount nodes { id } } }';

interface Measured {
  perSecond: number;
  cpuMs: number;
}

interface Answer {
  data?: { backups: { nodes: unknown[]; edges: { cursor: string }[]; pageInfo: unknown; totalCount: number } };
  errors?: unknown;
}

interface Server {
  port: number;
  meter: ProcessMeter;
  ask(query: string, variables?: Readonly<Record<string, unknown>>): Promise<NonNullable<Answer['data']>['backups']>;
  request(variables?: Readonly<Record<string, unknown>>): Buffer;
  send(message: ToServer): void;
  next(): Promise<FromServer>;
}

/** The servers one after another on the one core, their load and PostgreSQL on the other. */
const canPin = ((): boolean => {
  try {
    execFileSync('taskset', ['--version'], { stdio: 'ignore' });
    return availableParallelism() >= 2;
  } catch {
    return false;
  }
})();
const pin = (pid: number, core: number): void => {
  if (canPin) execFileSync('taskset', ['-acp', String(core), String(pid)], { stdio: 'ignore' });
};

const startServer = async (kind: ServerKind, args: readonly string[], defer: (undo: () => Promise<void>) => void): Promise<Server> => {
  const profiled = kind === 'snapback' && values['cpu-prof'] !== undefined ? ['--cpu-prof', `--cpu-prof-dir=${values['cpu-prof']}`] : [];
  const child: ChildProcess = fork(fileURLToPath(new URL('api-server.js', import.meta.url)), [kind, ...args], { execArgv: profiled, env: { ...process.env, NODE_ENV: 'production' } });
  const { pid } = child;
  if (pid === undefined) throw new Error('A forked process has an id');
  guardProcess(pid, 'TERM');
  defer(async () => {
    child.kill('SIGTERM');
    await exited(child);
    releaseProcess(pid);
  });
  const next = async (): Promise<FromServer> => {
    const over = new AbortController();
    const end = once(child, 'exit', { signal: over.signal }).then(() => Promise.reject(new Error(`The server "${kind}" ended`)), () => new Promise<never>(() => undefined));
    const [message] = (await Promise.race([once(child, 'message', { signal: over.signal }), end])) as [FromServer];
    over.abort();
    return message;
  };
  const started = await next();
  if (!('port' in started)) throw new Error('A server tells its port first');
  pin(pid, 0);
  const { port, key } = started;
  const headers: Record<string, string> = key === undefined ? {} : { authorization: `Bearer ${key}` };
  return {
    port, next, meter: new ProcessMeter(pid),
    send: (message) => void child.send(message),
    request: (variables = {}) => graphqlRequest(port, { query: QUERY, variables, operationName: 'Page' }, headers),
    async ask(query, variables = {}) {
      const response = await fetch(`http://127.0.0.1:${port}/graphql`, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify({ query, variables }) });
      const answer = (await response.json()) as Answer;
      if (!answer.data) throw new Error(`"${kind}" answered ${JSON.stringify(answer)}`);
      return answer.data.backups;
    },
  };
};

await runBench(async (defer) => {
  pin(process.pid, 1);
  if (!canPin) tell('taskset or a second core is missing: servers and load share what there is, and the ratios scatter');
  const folder = makeTempDir('bench-api');
  defer(() => removeTempDir(folder));
  const quiet = (): void => undefined;
  const database = await startEmbeddedPostgres({
    dataDir: join(folder, 'postgres'), log: { debug: quiet, info: quiet, warn: quiet, error: quiet },
    // As a server that has the memory for its tables, and nothing to lose.
    settings: { shared_buffers: '512MB', maintenance_work_mem: '256MB', work_mem: '16MB', fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', autovacuum: 'off', max_wal_size: '8GB' },
  });
  guardProcess(database.pid, 'QUIT');
  defer(async () => {
    await database.stop();
    releaseProcess(database.pid);
  });
  const snapback = await startServer('snapback', [database.url, join(folder, 'data')], defer);
  const filledAt = performance.now();
  await fillWithBackups(database.url, BACKUPS);
  tell(`${BACKUPS} backups in ${((performance.now() - filledAt) / 1000).toFixed(0)} s`);
  const [floor, raw] = [await startServer('floor', [], defer), await startServer('raw', [database.url], defer)];

  const page = await snapback.ask(QUERY);
  floor.send({ answer: page });
  for (const [name, server] of [['the bare server', floor], ['the server over pg', raw]] as const) {
    if (JSON.stringify(await server.ask(QUERY)) !== JSON.stringify(page)) throw new Error(`${name} answers otherwise than the service`);
  }
  if (page.nodes.length !== 20) throw new Error(`A page of ${page.nodes.length}`);
  const [before] = (await snapback.ask(LAST)).edges;
  const deep = { after: before?.cursor };
  const lastPage = await snapback.ask(QUERY, deep);
  if (lastPage.nodes.length !== 20 || (lastPage.pageInfo as { hasNextPage: boolean }).hasNextPage) throw new Error('The last page is not the last');

  const runs = {
    first: { server: snapback, request: snapback.request() },
    last: { server: snapback, request: snapback.request(deep) },
    floor: { server: floor, request: floor.request() },
    raw: { server: raw, request: raw.request() },
  };
  type Run = keyof typeof runs;
  /** `cpuMs`: of the server alone, for each request; it scatters less than requests in a second where the machine has other work. */
  const measure = async (run: Run, seconds: number): Promise<Measured> => {
    const { server, request } = runs[run];
    const before = server.meter.cpuSeconds;
    const { requestsPerSecond } = await load({ port: server.port, request, connections: CONNECTIONS, seconds });
    return { perSecond: requestsPerSecond, cpuMs: ((server.meter.cpuSeconds - before) * 1_000) / (requestsPerSecond * seconds) };
  };
  const order = Object.keys(runs) as Run[];
  for (const run of order) await measure(run, Math.min(SECONDS, 3));

  const rounds: Record<Run, Measured>[] = [];
  for (let turn = 0; turn < ROUNDS; turn += 1) {
    const found: Partial<Record<Run, Measured>> = {};
    // Each comes first, second, third and last in turn.
    for (let at = 0; at < order.length; at += 1) {
      const run = order[(at + turn) % order.length] as Run;
      found[run] = await measure(run, SECONDS);
    }
    rounds.push(found as Record<Run, Measured>);
    tell(`round ${turn}: ${order.map((run) => `${run} ${found[run]?.perSecond.toFixed(0) ?? ''}/s (${found[run]?.cpuMs.toFixed(2) ?? ''} ms)`).join(', ')}`);
  }
  const ratio = (of: Run, to: Run): number => median(rounds.map((found) => found[of].perSecond / found[to].perSecond));
  const cpuRatio = (of: Run, to: Run): number => median(rounds.map((found) => found[to].cpuMs / found[of].cpuMs));
  const rate = (run: Run): number => round(median(rounds.map((found) => found[run].perSecond)), 0);

  snapback.send({ countStatements: true });
  await snapback.ask(QUERY);
  const counted = snapback.next();
  snapback.send({ countStatements: false });
  const { statements } = (await counted) as { statements: string[] };

  const countedAt = performance.now();
  const { totalCount } = await snapback.ask(COUNTED);
  const totalCountMs = performance.now() - countedAt;
  return {
    bench: 'api', ratioToFloor: round(ratio('first', 'floor'), 3), ratioToRawPg: round(ratio('first', 'raw'), 3), deepPageRatio: round(ratio('first', 'last'), 3), sqlStatements: statements.length,
    backups: BACKUPS, perSecond: rate('first'), perSecondFloor: rate('floor'), perSecondRawPg: rate('raw'), cpuRatioToFloor: round(cpuRatio('first', 'floor'), 3), cpuRatioToRawPg: round(cpuRatio('first', 'raw'), 3), totalCount, totalCountMs: round(totalCountMs, 1), pinned: canPin,
  };
});
