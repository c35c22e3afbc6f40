import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startEmbeddedPostgres } from '../../server/embedded/postgres.js';
import { guardProcess, makeTempDir, releaseProcess, removeTempDir } from '../kit/processes.js';
import { type PolicyCrowd, startPolicyCrowd } from './policy-crowd.js';
import { median, round, runBench, tell } from './report.js';
import pg from 'pg';

/** Policies that are due at each pass. */
const DUE = 10;
const [FEW, MANY] = [100, 10_000];
/** The first ones warm caches and the just-in-time compiler, and are dropped. */
const [WARM_UP, ROUNDS] = [4, 24];

/** What the net does for planned runs, every so often and on every node. */
const pass = async ({ dispatcher }: PolicyCrowd): Promise<void> => {
  await dispatcher.dispatchDue();
  await dispatcher.remind();
};

const timed = async (crowd: PolicyCrowd): Promise<number> => {
  const due = await crowd.makeDue(DUE);
  const startedAt = performance.now();
  await pass(crowd);
  const ms = performance.now() - startedAt;
  await crowd.settle(due);
  return ms;
};

/** `--json` is accepted and changes nothing: the last line of standard output is always the result. */
parseArgs({ options: { json: { type: 'boolean' } } });

await runBench(async (defer) => {
  const folder = makeTempDir('bench-dispatch');
  defer(() => removeTempDir(folder));
  const quiet = (): void => undefined;
  const server = await startEmbeddedPostgres({ dataDir: join(folder, 'data'), log: { debug: quiet, info: quiet, warn: quiet, error: quiet } });
  guardProcess(server.pid, 'QUIT');
  defer(async () => {
    await server.stop();
    releaseProcess(server.pid);
  });
  const crowdOf = async (size: number): Promise<PolicyCrowd> => {
    const admin = new pg.Client({ connectionString: server.url });
    await admin.connect();
    await admin.query(`CREATE DATABASE crowd_${size}`);
    await admin.end();
    const url = new URL(server.url);
    url.pathname = `/crowd_${size}`;
    const crowd = await startPolicyCrowd(url.href, size);
    defer(() => crowd.stop());
    return crowd;
  };
  const [few, many] = [await crowdOf(FEW), await crowdOf(MANY)];
  tell(`databases with ${FEW} and ${MANY} policies; ${ROUNDS} rounds of ${DUE} due ones in each, the first ${WARM_UP} are dropped`);

  const times: { few: number; many: number }[] = [];
  for (let turn = 0; turn < ROUNDS; turn += 1) {
    // Whoever comes second in a round finds the machine a little warmer.
    const [first, second] = turn % 2 === 0 ? [await timed(few), await timed(many)] : [await timed(many), await timed(few)];
    const one = turn % 2 === 0 ? { few: first, many: second } : { few: second, many: first };
    times.push(one);
    tell(`round ${turn}: ${one.few.toFixed(1)} ms of ${FEW}, ${one.many.toFixed(1)} ms of ${MANY}`);
  }
  const counted = times.slice(WARM_UP);
  const [msOfFew, msOfMany] = [median(counted.map((one) => one.few)), median(counted.map((one) => one.many))];

  const due = await many.makeDue(DUE);
  const { scans, statements } = await many.seqScans(() => pass(many));
  await many.settle(due);
  for (const { table, statement } of scans) tell(`sequential scan of ${table}: ${statement}`);
  if (scans.length > 0) throw new Error(`${scans.length} statements of a pass scan a table from end to end.`);

  const looked: number[] = [];
  for (let turn = 0; turn < 5; turn += 1) {
    const startedAt = performance.now();
    await many.watch.look();
    looked.push(performance.now() - startedAt);
  }
  return { bench: 'dispatch', ratio: round(msOfMany / msOfFew, 3), due: DUE, msOfFew: round(msOfFew, 1), msOfMany: round(msOfMany, 1), statements, seqScans: scans.length, lateWatchMs: round(median(looked), 1) };
});
