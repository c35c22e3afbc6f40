import { type NodeProcess } from '../kit/node-process.js';
import { sleep } from '../kit/wait.js';
import { type Random } from './random.js';
import { LEASE_MS, type World } from './world.js';

/** Where a process is when it is struck: a condition on the rows of jobs, or the holder of the lock of retention and reconciling. */
const MOMENTS: Readonly<Record<string, string | null>> = {
  'a backup begins': `kind = 'BACKUP' AND phase = 'PREPARING'`,
  'a delay is ours': `EXISTS (SELECT 1 FROM sync_delay_holds h WHERE h.job_id = jobs.id AND h.fence = jobs.fence)`,
  'a backup is transferred': `kind = 'BACKUP' AND phase = 'TRANSFERRING'`,
  'a backup is committed': `kind = 'BACKUP' AND phase IN ('VERIFYING', 'SEALING')`,
  'a restore begins': `kind = 'RESTORE' AND phase IN ('PREPARING', 'SNAPSHOTTING', 'VERIFYING', 'SEALING')`,
  'a restore is transferred': `kind = 'RESTORE' AND phase = 'TRANSFERRING'`,
  'a target loads': `kind = 'RESTORE' AND phase = 'LOADING'`,
  'a target is let go': `kind = 'RESTORE' AND phase = 'FINALIZING'`,
  'a deletion': `kind = 'DELETE'`,
  'any job': `true`,
  'retention or reconciling': null,
};
const LOOK_EVERY_MS = 2;
/** A moment that does not come is not waited for longer. */
const PATIENCE_MS = 600;

export interface Strikes {
  /** How many there were, by the moment. */
  readonly killed: ReadonlyMap<string, number>;
  readonly slept: number;
  /** Kills one worker at a moment, and starts another in its place. */
  kill(): Promise<void>;
  /** Stops one for longer than its lease, and lets it go on; meanwhile others may be killed. */
  putToSleep(): void;
  /** Resolves when all that were to come are there, and nobody sleeps. */
  settled(): Promise<void>;
}

export const createStrikes = (world: World, random: Random): Strikes => {
  const { sql } = world;
  const killed = new Map<string, number>();
  const coming = new Set<Promise<unknown>>();

  const working = async (where: string | null): Promise<NodeProcess | undefined> => {
    const rows = await (where === null
      ? sql<{ worker: string }>(`SELECT holder AS worker FROM service_locks WHERE expires_at > clock_timestamp()`)
      : sql<{ worker: string }>(`SELECT worker FROM jobs WHERE state = 'RUNNING' AND lease_until > clock_timestamp() AND ${where}`));
    const alive = rows.flatMap(({ worker }) => world.workers.filter(({ pid }) => worker.includes(`-${String(pid)}-`)));
    return alive.length > 0 ? random.of(alive) : undefined;
  };

  /** Somebody at a moment of the dice's choice, or at any, or anybody. */
  const somebody = async (): Promise<{ node: NodeProcess; moment: string }> => {
    const moment = random.of(Object.keys(MOMENTS));
    const deadline = performance.now() + PATIENCE_MS;
    do {
      const node = await working(MOMENTS[moment] ?? null);
      if (node) return { node, moment };
      await sleep(LOOK_EVERY_MS);
    } while (performance.now() < deadline);
    const busy = await working('true');
    if (busy) return { node: busy, moment: 'any job' };
    while (world.workers.length === 0) await sleep(20);
    return { node: random.of(world.workers), moment: 'idle' };
  };

  const keep = (work: Promise<unknown>): void => {
    const over = work.finally(() => coming.delete(over));
    coming.add(over);
    // Rejections are `settled`'s to tell.
    over.catch(() => undefined);
  };
  let slept = 0;
  const sleepLong = async (): Promise<void> => {
    const { node } = await somebody();
    node.signal('SIGSTOP');
    await sleep(LEASE_MS + 500 + random.below(500));
    node.signal('SIGCONT');
    slept += 1;
  };

  return {
    killed,
    get slept() {
      return slept;
    },
    async kill() {
      const { node, moment } = await somebody();
      const delayMs = random.below(4) === 0 ? random.below(100) : random.below(8);
      if (delayMs > 0) await sleep(delayMs);
      await node.kill();
      killed.set(moment, (killed.get(moment) ?? 0) + 1);
      keep(world.startWorker());
    },
    putToSleep: () => keep(sleepLong()),
    async settled() {
      await Promise.all(coming);
    },
  };
};
