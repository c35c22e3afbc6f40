import { isSnapbackError, type Client, type ClientOptions, type Job, type JobEvent } from '@snapback/sdk';
import { createStore, type Store } from './store.js';
import { isRunning } from './words.js';

/** `live`: what happens is seen as it happens. `lost`: what is shown may be old; it is tried again. */
export type LinkState = 'connecting' | 'live' | 'lost';

export interface SeenJob {
  readonly job: Job;
  /** When this page saw it end, in milliseconds; null while it runs. */
  readonly endedAt: number | null;
}

/** A job's change, or the notice that anything may have changed. */
export type Change = { readonly job: Job; readonly ended: boolean } | null;

/** How things stand in the project, kept up to date for all pages by one subscription to the feed of job events. */
export interface Live {
  readonly link: Store<LinkState>;
  /** Jobs that run, and those that ended not long ago. */
  readonly jobs: Store<ReadonlyMap<string, SeenJob>>;
  onChange(listener: (change: Change) => void): () => void;
  /** To be called after something was changed from here. */
  changed(jobs?: readonly Job[]): void;
  start(client: Client): void;
  stop(): void;
}

/** The feed tells of jobs only; what others change in servers and policies is found by asking again so often. */
const REFRESH_MS = 15_000;
/** A job that has ended is still shown among those that run, so that its end can be seen. */
const LINGER_MS = 8_000;
const PAUSES_MS = [500, 1_000, 2_000, 4_000];

export const lingers = ({ endedAt }: SeenJob, now: number): boolean => endedAt === null || now - endedAt < LINGER_MS;

/**
 * Options of the client that show how its feed is: the SDK takes up a feed that was cut by itself, over a socket or an event stream, and the page is to
 * show that it does.
 */
export const watchFeed = (link: Store<LinkState>, onReady: () => void): Pick<ClientOptions, 'onEvent' | 'fetch'> => {
  const ready = (): void => {
    link.set('live');
    onReady();
  };
  const lost = (): void => link.set('lost');
  return {
    onEvent: (event) => {
      if (event.type === 'socket' && event.state === 'open') ready();
      else if (event.type === 'socket' || event.type === 'fallback') lost();
    },
    // Of event streams the SDK tells nothing. Nothing but the feed goes over one here, and only where there is no socket.
    fetch: async (input, init) => {
      const response = await fetch(input, init);
      if (response.body === null || !response.ok || response.headers.get('content-type')?.startsWith('text/event-stream') !== true) return response;
      ready();
      const { readable, writable } = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>();
      response.body.pipeTo(writable).then(lost, lost);
      return new Response(readable, response);
    },
  };
};

/** @param onRefused called once, when the key is no longer accepted */
export const createLive = (link: Store<LinkState>, onRefused: () => void): Live & { ready(): void } => {
  const jobs = createStore<ReadonlyMap<string, SeenJob>>(new Map());
  const listeners = new Set<(change: Change) => void>();
  const stopped = new AbortController();
  let client: Client | undefined;
  let wake = (): void => undefined;
  let syncing = false;

  const emit = (change: Change): void => {
    for (const listener of listeners) listener(change);
  };

  const note = (newer: readonly Job[]): void => {
    const now = Date.now();
    const next = new Map([...jobs.get()].filter(([, seen]) => lingers(seen, now)));
    for (const job of newer) {
      const known = next.get(job.id);
      if (known !== undefined && known.job.sequence >= job.sequence) continue;
      const ended = !isRunning(job);
      // One that nobody here saw running is news of the past: lists show it.
      if (ended && known === undefined) continue;
      next.set(job.id, { job, endedAt: ended ? now : null });
    }
    jobs.set(next);
  };

  const onFault = (error: unknown): void => {
    if (isSnapbackError(error) && error.code === 'UNAUTHENTICATED' && !stopped.signal.aborted) onRefused();
  };

  /** All that runs, and what became of what ran when it was last looked. */
  const resync = async (): Promise<void> => {
    if (client === undefined || syncing) return;
    syncing = true;
    try {
      const { signal } = stopped;
      const running = await client.jobs.list({ states: ['QUEUED', 'RUNNING'] }, { signal }).toArray({ limit: 200 });
      const listed = new Set(running.map(({ id }) => id));
      const gone = [...jobs.get().values()].filter(({ job }) => isRunning(job) && !listed.has(job.id));
      const ended = await Promise.all(gone.map(async ({ job }) => client?.jobs.get(job.id, { signal })));
      note([...running, ...ended.filter((job) => job != null)]);
    } catch (error) {
      onFault(error); // Otherwise the link's state says it, and the next round asks again.
    } finally {
      syncing = false;
    }
  };

  const refresh = (): void => {
    emit(null);
    void resync();
  };

  const take = ({ kind, job }: JobEvent): void => {
    const before = jobs.get().get(job.id);
    if (before !== undefined && before.job.sequence >= job.sequence) return;
    // A job of which the first that comes is its end: it ran while nobody listened, or for a moment only.
    if (before === undefined && !isRunning(job)) jobs.set(new Map([...jobs.get(), [job.id, { job, endedAt: Date.now() }]]));
    else note([job]);
    if (kind !== 'PROGRESS') emit({ job, ended: !isRunning(job) });
  };

  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });

  let attempt = new AbortController();
  const follow = async (service: Client): Promise<void> => {
    let after: string | undefined;
    for (let failures = 0; !stopped.signal.aborted; failures += 1) {
      attempt = new AbortController();
      try {
        for await (const event of service.jobs.events({}, { after, signal: AbortSignal.any([stopped.signal, attempt.signal]) })) {
          after = event.cursor;
          failures = 0;
          take(event);
        }
      } catch (error) {
        onFault(error);
        // A place in the feed that the service does not know any more: go on from now, and ask for the rest.
        if (isSnapbackError(error) && error.kind === 'graphql') after = undefined;
      }
      if (stopped.signal.aborted) return;
      link.set('lost');
      await pause(attempt.signal.aborted ? 0 : (PAUSES_MS[Math.min(failures, PAUSES_MS.length - 1)] ?? 0));
    }
  };

  const onOffline = (): void => link.set('lost');
  const onOnline = (): void => {
    // The old socket may believe in itself for many seconds more.
    attempt.abort();
    wake();
    refresh();
  };
  const onVisible = (): void => {
    if (document.visibilityState === 'visible') refresh();
  };
  let timer: ReturnType<typeof setInterval> | undefined;

  return {
    link,
    jobs,
    ready: refresh,
    onChange(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    changed(known = []) {
      note(known);
      emit(null);
    },
    start(service) {
      client = service;
      void follow(service);
      timer = setInterval(onVisible, REFRESH_MS);
      addEventListener('offline', onOffline);
      addEventListener('online', onOnline);
      document.addEventListener('visibilitychange', onVisible);
    },
    stop() {
      stopped.abort();
      wake();
      clearInterval(timer);
      removeEventListener('offline', onOffline);
      removeEventListener('online', onOnline);
      document.removeEventListener('visibilitychange', onVisible);
      client?.close();
      listeners.clear();
    },
  };
};
