import { sleep, waitFor } from '../kit/wait.js';
import { createDeeds } from './deeds.js';
import { breaches } from './invariants.js';
import { createStrikes } from './moments.js';
import { Random } from './random.js';
import { startWorld, UNSEALED_MS, type World } from './world.js';

const WORKERS = 3;
/** One worker is put to sleep after so many kills. */
const SLEEP_EVERY = 7;

export interface StormOptions {
  kills: number;
  seed: number;
  log: (line: string) => void;
}

export interface StormReport {
  seed: number;
  kills: number;
  /** Kills, by what the victim was at. */
  at: Record<string, number>;
  sleeps: number;
  backups: number;
  restores: number;
  slots: number;
  deletions: number;
  expiries: number;
  seconds: number;
  breaches: string[];
}

/** All that was asked for has come to an end. */
const quietened = async ({ sql }: World): Promise<boolean> => {
  const [left] = await sql<{ jobs: string; slots: string; due: string; holds: string }>(
    `SELECT (SELECT count(*) FROM jobs WHERE state <> 'COMPLETED') AS jobs, (SELECT count(*) FROM slots WHERE state = 'DUE') AS slots,
            (SELECT count(*) FROM sync_delay_holds) AS holds, (SELECT count(*) FROM backup_policies WHERE next_run_at <= clock_timestamp()) AS due`);
  return left?.jobs === '0' && left.slots === '0' && left.due === '0' && left.holds === '0';
};

const passedSince = async ({ sql }: World, since: Date): Promise<boolean> => {
  const [row] = await sql<{ value: string }>(`SELECT value FROM service_settings WHERE name = 'upkeep'`);
  const { lastPassAt } = JSON.parse(row?.value ?? '{}') as { lastPassAt?: string };
  return lastPassAt !== undefined && new Date(lastPassAt) > since;
};

const databaseTime = async ({ sql }: World): Promise<Date> => (await sql<{ now: Date }>('SELECT clock_timestamp() AS now'))[0]?.now ?? new Date();

/**
 * Three workers over real servers and a real database, killed by SIGKILL in the middle of whatever they do; then what must hold. The seed
 * decides what is done and who is struck at which moment; how far everybody is by then, nobody decides.
 */
export const runStorm = async ({ kills, seed, log }: StormOptions): Promise<StormReport> => {
  const begun = performance.now();
  const seconds = (): number => Math.round((performance.now() - begun) / 100) / 10;
  const random = new Random(seed);
  const world = await startWorld();
  try {
    await Promise.all(Array.from({ length: WORKERS }, () => world.startWorker()));
    const deeds = createDeeds(world, new Random(random.below(2 ** 31)));
    const strikes = createStrikes(world, new Random(random.below(2 ** 31)));
    log(`begins after ${seconds()} s`);
    let storming = true;
    const doing = (async () => {
      while (storming) {
        await deeds.one();
        await sleep(random.below(80));
      }
    })();
    for (let done = 1; done <= kills; done += 1) {
      await waitFor(() => world.workers.length >= WORKERS - 1, { timeoutMs: 60_000, message: 'workers to come back' });
      await strikes.kill();
      if (done % SLEEP_EVERY === 0) strikes.putToSleep();
      if (done % 20 === 0) log(`${done} of ${kills} kills`);
    }
    storming = false;
    await doing;
    await strikes.settled();
    log(`calm after ${seconds()} s; waiting for everything to end`);
    await waitFor(() => quietened(world), { timeoutMs: 120_000, intervalMs: 100, message: 'everything to end' }).catch((error: unknown) => deeds.faults.push(String(error)));
    log(`ended after ${seconds()} s; waiting for a pass`);
    await sleep(UNSEALED_MS);
    // A pass that begins after everything has aged, and whatever it begins.
    const aged = await databaseTime(world);
    await waitFor(() => passedSince(world, aged), { timeoutMs: 30_000, intervalMs: 100, message: 'a pass' });
    const after = await databaseTime(world);
    await waitFor(async () => (await passedSince(world, after)) && (await quietened(world)), { timeoutMs: 30_000, intervalMs: 100, message: 'the pass to end' });
    const found = await breaches(world, deeds);
    return {
      seed, kills, at: Object.fromEntries([...strikes.killed].sort()), sleeps: strikes.slept, ...deeds.asked, slots: deeds.slots.length,
      seconds: seconds(), breaches: [...found, ...world.errors().map((line) => `Logged as an error: ${line.slice(0, 600)}`)],
    };
  } finally {
    await world.stop();
  }
};
