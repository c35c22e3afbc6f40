import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { LiveClient, type Subscribed } from '../kit/live-client.js';
import { exited, guardProcess, releaseProcess } from '../kit/processes.js';

/** Where clients connect, how many, and what they subscribe to. */
export interface Aim extends Subscribed {
  port: number;
  count: number;
}

/** What the clients saw since the last `collect`. */
export interface Seen {
  /** From an event's `at` to its arrival, in ms, of every event of every client, as counts for each ms. */
  latencies: number[];
  events: number;
  /** Events that are no progress: how often each number of them arrived, over all clients. */
  lasting: [sequence: number, times: number][];
  /** Clients that saw a number twice, or one after a greater one. */
  disordered: number;
  /** Sockets that ended though nobody ended them. */
  lost: number;
}

interface Asked {
  /** Opens so many more; answers when each has had its first event. */
  open: Aim;
  /** Cuts all of them at once and opens as many, each after its last number; answers when each has had an event. */
  reopen: Pick<Aim, 'port'>;
  collect: null;
  close: null;
}
interface Answered {
  open: null;
  reopen: { ms: number };
  collect: Seen;
  close: null;
}

export interface LiveClients {
  ask<K extends keyof Asked>(kind: K, what: Asked[K]): Promise<Answered[K]>;
  stop(): Promise<void>;
}

/** Thousands of subscribers in a process of their own. */
export const startLiveClients = async (): Promise<LiveClients> => {
  const child: ChildProcess = fork(fileURLToPath(import.meta.url), { stdio: 'inherit' });
  const { pid } = child;
  if (pid === undefined) throw new Error('A forked process has an id');
  guardProcess(pid, 'TERM');
  await once(child, 'message');
  return {
    ask: async (kind, what) => {
      const stop = new AbortController();
      const ended = once(child, 'exit', { signal: stop.signal }).then(() => {
        throw new Error(`The clients ended over "${kind}"`);
      });
      ended.catch(() => undefined);
      const answered = once(child, 'message', { signal: stop.signal });
      child.send({ kind, what });
      const [answer] = (await Promise.race([answered, ended])) as [{ failed: string } | { answer: never }];
      stop.abort();
      if ('failed' in answer) throw new Error(answer.failed);
      return answer.answer;
    },
    async stop() {
      child.disconnect();
      await exited(child);
      releaseProcess(pid);
    },
  };
};

/** Opened at once at most: what a listening socket lets wait. */
const AT_ONCE = 400;
const clients: LiveClient[] = [];
let latencies: number[] = [];
let events = 0;
let lost = 0;

const each = async (of: readonly LiveClient[], open: (client: LiveClient) => Promise<void>): Promise<void> => {
  const waiting = [...of];
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (let client = waiting.pop(); client; client = waiting.pop()) await open(client);
  }));
};

const work: { [K in keyof Asked]: (what: Asked[K]) => Promise<Answered[K]> } = {
  open: async (aim) => {
    const made = Array.from({ length: aim.count }, () => new LiveClient(aim, (kind, at) => {
      events += 1;
      if (kind === 'SNAPSHOT') return;
      const ms = Math.max(0, Date.now() - at);
      latencies[ms] = (latencies[ms] ?? 0) + 1;
    }, () => {
      lost += 1;
    }));
    clients.push(...made);
    await each(made, (client) => client.open(aim.port, null));
    return null;
  },
  reopen: async ({ port }) => {
    for (const client of clients) client.cut();
    const began = performance.now();
    await Promise.all(clients.map((client) => client.open(port, client.last)));
    return { ms: performance.now() - began };
  },
  collect: async () => {
    const times = new Map<number, number>();
    for (const client of clients) for (const sequence of client.lasting.splice(0)) times.set(sequence, (times.get(sequence) ?? 0) + 1);
    const seen: Seen = { latencies: Array.from(latencies, (count) => count ?? 0), events, lasting: [...times].sort(([a], [b]) => a - b), disordered: clients.filter(({ disordered }) => disordered).length, lost };
    latencies = [];
    events = 0;
    return seen;
  },
  close: async () => {
    for (const client of clients.splice(0)) client.cut();
    lost = 0;
    return null;
  },
};

if (process.send) {
  process.on('disconnect', () => process.exit(0));
  process.on('message', ({ kind, what }: { kind: keyof Asked; what: never }) => {
    void Promise.resolve().then((): Promise<unknown> => work[kind](what)).then((answer) => process.send?.({ answer }), (error: unknown) => process.send?.({ failed: String(error) }));
  });
  process.send('ready');
}
