import { type Store } from './engine/store/store.js';
import { type EventHub } from './events/hub.js';
import { type ReadinessCheck } from './http/ports.js';
import { type WorkClock } from './jobs/clock.js';
import { type Upkeep } from './jobs/upkeep/upkeep.js';

/** Whoever asks whether this process is ready waits no longer than this for any part of it. */
const READY_WITHIN_MS = 3_000;

interface Watched {
  query(sql: string): Promise<unknown>;
  store: Store;
  hub: EventHub;
  queue: WorkClock;
  upkeep: Upkeep;
}

/** What an answer says that does not come. */
const inTime = <T>(work: Promise<T>, late: T): Promise<T> => {
  let timer: NodeJS.Timeout | undefined;
  const lateness = new Promise<T>((resolve) => {
    timer = setTimeout(() => resolve(late), READY_WITHIN_MS);
  });
  return Promise.race([work, lateness]).finally(() => clearTimeout(timer));
};

/** Looks at what this process needs to be of use. */
export const createReadiness = ({ query, store, hub, queue, upkeep }: Watched) => async (): Promise<ReadinessCheck[]> => {
  const [database, writable, clock] = await Promise.all([
    inTime(query('SELECT 1').then(() => true, () => false), false),
    inTime(store.check().then((health) => health.writable, () => false), false),
    queue.reachable(READY_WITHIN_MS),
  ]);
  const stands = database ? await inTime(upkeep.status().then(({ stoppedBecause }) => stoppedBecause, (error: unknown) => String(error)), null) : null;
  const check = (name: string, ok: boolean, reason: string): ReadinessCheck => ({ name, ok, reason: ok ? undefined : reason });
  return [
    check('database', database, 'The database does not answer.'),
    check('store', writable, 'The store takes no data.'),
    check('events', hub.listening, 'Events are polled for: the connections that announce them are down.'),
    ...(hub.brokered === null ? [] : [{ ...check('events-redis', hub.brokered, 'The Redis server that announces events cannot be used: PostgreSQL alone does.'), blocking: false }]),
    check('clock', clock, 'The store of the clock does not answer: new jobs and planned runs wait.'),
    { ...check('upkeep', stands === null, stands ?? ''), blocking: false },
  ];
};
